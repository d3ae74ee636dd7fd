#pragma once
// Statistics of batch norm anew once training is over. Nagel et al. 2022, arXiv:2203.11086, section 4.1:
// while weights jump between integers, the running statistics belong to no network that ever was.

#include <qat/nn/producer.hpp>

#include <memory>
#include <type_traits>
#include <vector>

namespace qat::nn {
namespace detail {

// Everything needed to let one batch's statistics be seen and to leave the model as it was. The momentum is 1
// meanwhile: after a forward the running statistics are the batch's.
class BatchStatistics {
public:
    explicit BatchStatistics(torch::nn::Module& model) : model_(model), training_(model.is_training()) {
        for (auto const& m : model.modules())
            if (auto norm = std::dynamic_pointer_cast<torch::nn::BatchNorm2dImpl>(m))
                norms_.push_back({norm, norm->options.momentum(), norm->running_mean.clone(),
                                  norm->running_var.clone(),
                                  torch::zeros_like(norm->running_mean, torch::kDouble),
                                  torch::zeros_like(norm->running_var, torch::kDouble)});
        for_each_producer(model, [&](Producer& p) {
            if (p.freeze_statistics(false)) frozen_.push_back(&p);
        });
        model.train();
        for_each_grid(model, [](Grid& g) { g.eval(); });
        for (auto& n : norms_) n.norm->options.momentum(1.0);
    }
    BatchStatistics(BatchStatistics const&) = delete;
    BatchStatistics& operator=(BatchStatistics const&) = delete;
    ~BatchStatistics() {
        for (auto& n : norms_) n.norm->options.momentum(n.momentum);
        for (auto* p : frozen_) p->freeze_statistics();
        model_.train(training_);
    }

    bool empty() const { return norms_.empty(); }

    /// Takes in what the last batch left behind. The next one meets the network as it was.
    void take() {
        ++batches_;
        for (auto& n : norms_) {
            n.mean_sum += n.norm->running_mean, n.var_sum += n.norm->running_var;
            restore(n);
        }
    }
    /// The averages become the running statistics, and the weights' grids follow what is folded with them.
    void keep() {
        if (batches_ == 0) return;
        std::vector<std::pair<Producer*, torch::Tensor>> folded;  // as they were
        for_each_producer(model_, [&](Producer& p) {
            if (auto const w = p.quantized_weight(); w && w->factor.defined() && w->grid->quantized())
                folded.emplace_back(&p, w->seen());
        });
        for (auto& n : norms_) {
            n.norm->running_mean.copy_(n.mean_sum / batches_),
                n.norm->running_var.copy_(n.var_sum / batches_);
            n.norm->num_batches_tracked.fill_(batches_);
        }
        for (auto const& [producer, before] : folded) {
            auto const w = *producer->quantized_weight();
            w.grid->widen(before, w.seen());
        }
    }
    /// What a batch that failed half-way left behind is dropped.
    void restore() {
        for (auto& n : norms_) restore(n);
    }
    int batches() const { return batches_; }

private:
    struct Norm {
        std::shared_ptr<torch::nn::BatchNorm2dImpl> norm;
        std::decay_t<decltype(norm->options.momentum())> momentum;
        torch::Tensor mean, var;          // from before                       [C]
        torch::Tensor mean_sum, var_sum;  // over batches, float64             [C]
    };
    static void restore(Norm& n) { n.norm->running_mean.copy_(n.mean), n.norm->running_var.copy_(n.var); }

    torch::nn::Module& model_;
    bool training_;
    std::vector<Norm> norms_;
    std::vector<Producer*> frozen_;
    int batches_ = 0;
};

}  // namespace detail

/// Running means and variances become the averages of those of `batches` batches, each of which is normalised
/// by its own as in training. Meanwhile no grid moves, and weights are quantized as folded with the statistics from
/// before, so that all batches meet the same network. In the end weights are folded with the new ones, and their grids are
/// widened as much (Grid::widen). Frozen statistics are estimated too, and are frozen again afterwards.
/// next: () -> bool runs one more batch through the model in training mode, or returns false if there is
/// none.
/// Returns how many batches there were; with none of them, and without batch norm, nothing changes.
template <class Next> int reestimate_batch_norm(torch::nn::Module& model, int batches, Next&& next) {
    torch::NoGradGuard no_grad;
    detail::BatchStatistics statistics(model);
    if (statistics.empty()) return 0;
    try {
        while (statistics.batches() < batches && next()) statistics.take();
    } catch (...) {
        statistics.restore();
        throw;
    }
    statistics.keep();
    return statistics.batches();
}

}  // namespace qat::nn
