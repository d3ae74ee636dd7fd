#pragma once
// What the loss reads from a level, with one gradient for both parts.

#include <qat/torch.hpp>

#include <cstdint>
#include <utility>

namespace yolo {

/// forward:  predictions [N, 3, H, W, 5 + C] and the positions of n positives, int64 [4, n] (image, anchor,
///           row, column) -> their columns [n, 5 + C] and the objectness of every cell [N, 3, H, W]
/// backward: one tensor in the predictions' own memory layout, which the head's permutation undoes without a
///           copy; indexing and selecting would each fill one and then add them up. A cell may occur more
///           than once: on the CPU its gradients are added in order (LibTorch's indexing adds them as its
///           threads come).
class Gather : public torch::autograd::Function<Gather> {
public:
    static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                  torch::Tensor const& predictions,
                                                  torch::Tensor const& positions) {
        context->save_for_backward({predictions, positions});
        return {predictions.index(indices(positions)), predictions.select(4, 4).clone()};
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   torch::autograd::variable_list gradients) {
        auto const saved = context->get_saved_variables();
        auto const &predictions = saved[0], &positions = saved[1];
        auto out = torch::zeros_like(predictions);  // keeps the order of the strides
        if (gradients[1].defined()) out.select(4, 4).copy_(gradients[1]);
        if (gradients[0].defined() && positions.size(1) > 0) {
            if (out.is_cpu() && out.scalar_type() == torch::kFloat)
                add_rows<float>(out, gradients[0].contiguous(), positions.contiguous());
            else if (out.is_cpu() && out.scalar_type() == torch::kDouble)
                add_rows<double>(out, gradients[0].contiguous(), positions.contiguous());
            else
                out.index_put_(indices(positions), gradients[0], /*accumulate=*/true);
        }
        return {out, torch::Tensor()};
    }

private:
    // LibTorch 1.13 and 2.x have different optionals
    using Indices = decltype(std::declval<c10::IValue const&>().toOptionalTensorList());

    static Indices indices(torch::Tensor const& positions) {
        Indices out;
        for (std::int64_t i = 0; i < 4; ++i) out.push_back(positions[i]);
        return out;
    }

    template <class T>
    static void add_rows(torch::Tensor& out, torch::Tensor const& rows, torch::Tensor const& positions) {
        auto const step = out.strides();
        auto const count = positions.size(1), columns = rows.size(1);
        auto const* at = positions.data_ptr<std::int64_t>();
        auto const* row = rows.data_ptr<T>();
        for (std::int64_t i = 0; i < count; ++i, row += columns) {
            auto* cell = out.data_ptr<T>() + at[i] * step[0] + at[count + i] * step[1] +
                         at[2 * count + i] * step[2] + at[3 * count + i] * step[3];
            for (std::int64_t c = 0; c < columns; ++c) cell[c * step[4]] += row[c];
        }
    }
};

}  // namespace yolo
