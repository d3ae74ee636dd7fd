#pragma once
// A loop over independent pieces of work on plain threads.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace yolo {

/// body(i) for i in [0, count), in any order, on at most min(8, cores, count / grain) threads.
/// throws one of what the bodies threw, after all threads are done.
template <class Body> void parallel_for(std::size_t count, std::size_t grain, Body const& body) {
    std::atomic<std::size_t> next{0};
    std::exception_ptr error;
    std::mutex mutex;
    auto const work = [&] {
        try {
            for (std::size_t i; (i = next++) < count;) body(i);
        } catch (...) {
            next = count;
            std::lock_guard const lock(mutex);
            error = std::current_exception();
        }
    };
    std::size_t const wanted = std::min<std::size_t>({8, std::thread::hardware_concurrency(), count / grain});
    std::vector<std::thread> threads;
    try {
        while (threads.size() + 1 < wanted) threads.emplace_back(work);
    } catch (std::system_error const&) {}  // fewer threads do it too
    work();
    for (std::thread& thread : threads) thread.join();
    if (error) std::rethrow_exception(error);
}

}  // namespace yolo
