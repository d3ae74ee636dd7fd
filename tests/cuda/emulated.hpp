#pragma once
// The CUDA kernels on the CPU: every thread of a block is a thread, and __syncthreads is a barrier. Nothing of a GPU's
// speed or memory is shown this way, but the kernels' code is: what each thread reads, computes and writes.
// requires to be included last: it gives CUDA's words a meaning.

#include <qat/ops/cuda/fused.hpp>

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <atomic>
#include <bit>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

namespace emulated {

class Barrier {
public:
    explicit Barrier(unsigned count) : count_(count), missing_(count) {}
    void wait() {
        std::unique_lock lock(mutex_);
        if (--missing_ == 0) {
            missing_ = count_, ++round_;
            all_here_.notify_all();
        } else {
            all_here_.wait(lock, [this, round = round_] { return round != round_; });
        }
    }

private:
    std::mutex mutex_;
    std::condition_variable all_here_;
    unsigned count_, missing_, round_ = 0;
};

struct Index {
    unsigned x = 0, y = 0;
};
inline thread_local Index thread_index, block_index;
inline Index grid_size, block_size;
inline Barrier* barrier = nullptr;

template <class T> T atomic_min(T* p, T v) {
    std::atomic_ref<T> at(*p);
    T old = at.load();
    while (v < old && !at.compare_exchange_weak(old, v)) {}
    return old;
}
template <class T> T atomic_max(T* p, T v) {
    std::atomic_ref<T> at(*p);
    T old = at.load();
    while (v > old && !at.compare_exchange_weak(old, v)) {}
    return old;
}

/// Runs a kernel to its end. The blocks take turns: shared memory is a static variable.
class Launch {
public:
    static constexpr unsigned threads = 16;  // in a block

    explicit Launch(int) {}

    template <class... Parameters, class... Arguments>
    void operator()(unsigned x, unsigned y, void (*kernel)(Parameters...),
                    Arguments const&... arguments) const {
        Barrier all(threads);
        barrier = &all, grid_size = {x, y}, block_size = {threads, 1};
        std::vector<std::thread> team;
        for (unsigned t = 0; t < threads; ++t)
            team.emplace_back([&, t] {
                thread_index = {t, 0};
                for (unsigned by = 0; by < y; ++by)
                    for (unsigned bx = 0; bx < x; ++bx) {
                        block_index = {bx, by};
                        kernel(arguments...);
                        all.wait();
                    }
            });
        for (auto& member : team) member.join();
    }
};

}  // namespace emulated

#define __global__
#define __device__
#define __shared__ static
#define threadIdx emulated::thread_index
#define blockIdx emulated::block_index
#define blockDim emulated::block_size
#define gridDim emulated::grid_size
#define __syncthreads() emulated::barrier->wait()
#define atomicMin emulated::atomic_min
#define atomicMax emulated::atomic_max

#include <qat/ops/cuda/dispatch.cuh>

namespace emulated {

inline qat::cuda::Kernels const kernels = [] {
    auto table = qat::cuda::Dispatch<Launch>::table;
    table.emulated = true;
    return table;
}();

}  // namespace emulated
