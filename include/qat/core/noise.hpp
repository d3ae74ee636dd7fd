#pragma once
// Random numbers for stochastic rounding without a state: a hash of a seed and a position, so that any thread, vector
// lane or device computes the same number for the same element. The hash is the 32-bit finalizer of MurmurHash3, twice,
// because 32-bit products are what vector units have.

#include <qat/core/host_device.hpp>

#include <cstdint>

namespace qat {

/// Every bit of the result depends on every bit of h; a bijection.
QAT_HOST_DEVICE constexpr std::uint32_t scramble(std::uint32_t h) {
    h = (h ^ (h >> 16)) * 0x85ebca6bu;
    h = (h ^ (h >> 13)) * 0xc2b2ae35u;
    return h ^ (h >> 16);
}

/// What the noise of 2^32 elements in a row has in common. page: the upper half of their positions.
QAT_HOST_DEVICE constexpr std::uint32_t noise_key(std::uint64_t seed, std::uint32_t page) {
    auto const low = static_cast<std::uint32_t>(seed), high = static_cast<std::uint32_t>(seed >> 32);
    return scramble(scramble(scramble(low) + high) + page);
}

/// Uniform in [0, 1): a multiple of 2^-24, exact in a float. index: the lower half of the position.
QAT_HOST_DEVICE constexpr float noise(std::uint32_t key, std::uint32_t index) {
    return static_cast<float>(static_cast<std::int32_t>(scramble(scramble(index) + key) >> 8)) * 0x1p-24f;
}

/// The noise of the element at this position in memory.
QAT_HOST_DEVICE constexpr float uniform_noise(std::uint64_t seed, std::uint64_t index) {
    return noise(noise_key(seed, static_cast<std::uint32_t>(index >> 32)), static_cast<std::uint32_t>(index));
}

}  // namespace qat
