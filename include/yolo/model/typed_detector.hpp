#pragma once
// The typed network behind the plain interface, and a catalogue of experiments as values.
// Instantiating a network costs seconds of compile time: an application may declare
//     extern template std::unique_ptr<yolo::Detector> yolo::make_detector<A>(yolo::YoloV5Options const&);
// and instantiate it in one translation unit.

#include <qat/core/catalogue.hpp>
#include <yolo/model/detector.hpp>
#include <yolo/model/yolov5.hpp>

namespace yolo {

template <class A> class TypedDetector final : public Detector {
public:
    explicit TypedDetector(YoloV5Options const& options) : Detector(options), model_(options) {
        groups_ = qat::nn::bind(model_);
    }

    torch::nn::Module& module() override { return *model_; }
    qat::graph::Graph trace(qat::graph::Shape image) override {
        return qat::nn::trace(model_, std::move(image));
    }

    std::unique_ptr<Detector> replicate() override {
        auto copy = std::make_unique<TypedDetector>(options());
        copy->model_->to(device());
        qat::nn::copy_state(*model_, *copy->model_);
        return copy;
    }

private:
    Logits forward(torch::Tensor const& images) override {
        auto y = model_(images);
        return {std::move(y.p3), std::move(y.p4), std::move(y.p5)};
    }

    YoloV5<A> model_;
};

template <class A> std::unique_ptr<Detector> make_detector(YoloV5Options const& options) {
    return std::make_unique<TypedDetector<A>>(options);
}

template <qat::ExperimentSpec E> ExperimentInfo experiment_info() {
    using A = typename E::arithmetic;
    return {.name = std::string(E::name),
            .schedule = E::schedule,
            .description = qat::describe<E>(),
            .quantized = E::quantized,
            .folds_batch_norm = !A::batch_norm::live,
            .stability = {.dampening = E::oscillation::dampening,
                          .freeze_threshold = E::oscillation::threshold,
                          .freeze_momentum = E::oscillation::momentum},
            .make = &make_detector<A>};
}

/// Experiments to choose from at run time.
class Catalogue {
public:
    /// experiments: a hana::tuple of types, qat::catalogue<...>.
    template <class Types> explicit Catalogue(Types const& experiments) {
        qat::hana::for_each(experiments,
                            [&](auto e) { infos_.push_back(experiment_info<typename decltype(e)::type>()); });
    }

    std::vector<ExperimentInfo> const& all() const { return infos_; }

    /// throws std::runtime_error with the known names if there is none of that name.
    ExperimentInfo const& find(std::string_view name) const {
        std::string known;
        for (auto const& info : infos_) {
            if (info.name == name) return info;
            known += (known.empty() ? "" : ", ") + info.name;
        }
        throw std::runtime_error("there is no experiment \"" + std::string(name) + "\"; known are " + known);
    }

private:
    std::vector<ExperimentInfo> infos_;
};

}  // namespace yolo
