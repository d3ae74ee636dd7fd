// Compiled by whoever links qat::cuda (an INTERFACE source): all kernels, and the table through which they are launched.

#include <qat/ops/cuda/dispatch.cuh>

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace qat::cuda {
namespace {

/// Queues kernels on the current stream of a device.
class OnDevice {
public:
    explicit OnDevice(int device) : guard_(static_cast<c10::DeviceIndex>(device)) {}

    template <class... Parameters, class... Arguments>
    void operator()(unsigned x, unsigned y, void (*kernel)(Parameters...),
                    Arguments const&... arguments) const {
        kernel<<<dim3(x, y), threads, 0, c10::cuda::getCurrentCUDAStream()>>>(arguments...);
        C10_CUDA_KERNEL_LAUNCH_CHECK();
    }

private:
    c10::cuda::CUDAGuard guard_;
};

// A program that has this object has the kernels. Nothing else is done before main.
[[maybe_unused]] bool const registered = (use_kernels(), true);
}  // namespace

void use_kernels() { kernels() = &Dispatch<OnDevice>::table; }

}  // namespace qat::cuda
