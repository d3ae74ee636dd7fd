#pragma once
// Random numbers of the data layer: one stream for each (seed, epoch, index), the same on every machine and
// with any number of threads. The standard's distributions are not portable, so the few that are needed are
// written out here.

#include <cmath>
#include <cstdint>
#include <span>
#include <utility>

namespace yolo {

/// A stream of random numbers. Cheap to make: one for each sample of each epoch.
class Random {
public:
    /// Streams of different (seed, epoch, index) are independent for all practical purposes.
    explicit Random(std::uint64_t seed, std::uint64_t epoch = 0, std::uint64_t index = 0)
        : state_(mix(mix(mix(seed + increment) ^ (epoch + increment)) ^ (index + increment))) {}

    /// 64 random bits (SplitMix64; Steele, Lea, Flood 2014).
    std::uint64_t bits() { return mix(state_ += increment); }

    /// In [0, 1), 53 bits.
    double uniform() { return static_cast<double>(bits() >> 11) * 0x1.0p-53; }

    /// In [a, b).
    double uniform(double a, double b) { return a + (b - a) * uniform(); }

    /// In {0, ..., n - 1}, unbiased; 0 for n = 0.
    std::uint64_t integer(std::uint64_t n) {
        if (n == 0) return 0;
        std::uint64_t const unfair = (0 - n) % n;  // 2^64 mod n: the first values would come once too often
        std::uint64_t value = bits();
        while (value < unfair) value = bits();
        return value % n;
    }

    /// True with probability p; never for p <= 0, always for p >= 1.
    bool bernoulli(double p) { return uniform() < p; }

    /// Mean 0, standard deviation 1 (Box and Muller, one of the two values).
    double normal() {
        double const radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
        return radius * std::cos(6.283185307179586 * uniform());
    }

    /// Beta(a, b) as a ratio of two gamma variates; a, b > 0.
    double beta(double a, double b) {
        double const x = gamma(a), y = gamma(b);
        return x / (x + y);
    }

    /// A random order of the values (Fisher and Yates).
    template <class T> void shuffle(std::span<T> values) {
        for (std::size_t i = values.size(); i > 1; --i)
            std::swap(values[i - 1], values[static_cast<std::size_t>(integer(i))]);
    }

private:
    static constexpr std::uint64_t increment = 0x9e3779b97f4a7c15ull;

    static constexpr std::uint64_t mix(std::uint64_t z) {
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        return z ^ (z >> 31);
    }

    // Gamma(shape, 1); Marsaglia and Tsang 2000. For shape < 1: Gamma(shape + 1) * U^(1 / shape).
    double gamma(double shape) {
        if (shape < 1.0) return gamma(shape + 1.0) * std::pow(1.0 - uniform(), 1.0 / shape);
        double const d = shape - 1.0 / 3.0, c = 1.0 / std::sqrt(9.0 * d);
        for (;;) {
            double const x = normal(), root = 1.0 + c * x;
            if (root <= 0.0) continue;
            double const v = root * root * root;
            if (std::log(1.0 - uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
        }
    }

    std::uint64_t state_;
};

}  // namespace yolo
