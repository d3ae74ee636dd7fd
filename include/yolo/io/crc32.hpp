#pragma once
// The checksum of zip archives (polynomial 0xEDB88320, reflected), eight bytes a step.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace yolo {
namespace detail {

using Crc32Tables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Crc32Tables make_crc32_tables() {
    Crc32Tables tables{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        std::uint32_t value = byte;
        for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1u) ? 0xEDB88320u : 0u);
        tables[0][byte] = value;
    }
    for (std::size_t table = 1; table < 8; ++table)  // tables[k]: the same byte followed by k zeros
        for (std::size_t byte = 0; byte < 256; ++byte) {
            auto const before = tables[table - 1][byte];
            tables[table][byte] = (before >> 8) ^ tables[0][before & 0xFFu];
        }
    return tables;
}
inline constexpr Crc32Tables crc32_tables = make_crc32_tables();

}  // namespace detail

/// CRC-32 of `bytes`; pass the result of the bytes before as `crc` to go on.
inline std::uint32_t crc32(std::span<std::byte const> bytes, std::uint32_t crc = 0) {
    auto const& table = detail::crc32_tables;
    auto const at = [&](std::size_t i) { return std::to_integer<std::uint32_t>(bytes[i]); };
    crc = ~crc;
    std::size_t i = 0;
    for (; i + 8 <= bytes.size(); i += 8) {
        crc ^= at(i) | at(i + 1) << 8 | at(i + 2) << 16 | at(i + 3) << 24;
        crc = table[7][crc & 0xFFu] ^ table[6][(crc >> 8) & 0xFFu] ^ table[5][(crc >> 16) & 0xFFu] ^
              table[4][crc >> 24] ^ table[3][at(i + 4)] ^ table[2][at(i + 5)] ^ table[1][at(i + 6)] ^
              table[0][at(i + 7)];
    }
    for (; i < bytes.size(); ++i) crc = (crc >> 8) ^ table[0][(crc ^ at(i)) & 0xFFu];
    return ~crc;
}

}  // namespace yolo
