#pragma once
// yolo-describe: what an experiment is. The choices as a table, the schedule with step numbers, the network as Graphviz
// before and after binding, and the groups of results that share a scale.

#include <qat/graph/dot.hpp>
#include <yolo/apps/train_arguments.hpp>
#include <yolo/data/dataset.hpp>
#include <yolo/io/dataset_yaml.hpp>
#include <yolo/io/results_json.hpp>

namespace yolo::apps {

inline int describe(Catalogue const& catalogue, int argc, char const* const* argv) {
    CommandLine app("Prints what an experiment computes and when it switches something.", "yolo-describe");
    std::string experiment, size = "n", data, dot, json;
    int images = 0, batch_size = 16, epochs = 0, image_size = 640;
    std::int64_t classes = 80;
    bool list = false;
    app.add_option("--experiment", experiment, "which; see --list");
    app.add_flag("--list", list, "the names of all experiments");
    app.add_option("--model", size, "n s m l x, or depth,width");
    app.add_option("--classes", classes, "of the head")->check(at_least(1));
    app.add_option("--imgsz,--img,--img-size", image_size, "pixels, for the shapes in the graph")
        ->transform(up_to_multiple_of_32());
    app.add_option("--data", data, "data set YAML whose training images make the schedule's epochs");
    app.add_option("--images", images, "training images, instead of --data; COCO has 118287")
        ->default_str("")
        ->check(at_least(1));
    app.add_option("--batch-size", batch_size, "images of a step")->check(at_least(1));
    app.add_option("--epochs", epochs, "passes over the data set")
        ->default_str("the experiment's")
        ->check(at_least(1));
    app.add_option("--dot", dot, "write the network as Graphviz to this file (render: dot -Tsvg)");
    app.add_option("--json", json, "write everything to this file");
    return run(app, argc, argv, [&]() -> int {
        if (list) {
            for (auto const& info : catalogue.all()) std::cout << info.name << "\n";
            return 0;
        }
        if (experiment.empty()) throw std::runtime_error("--experiment is missing; --list names all");
        auto const& info = catalogue.find(experiment);
        nlohmann::ordered_json object{{"experiment", info.name}};
        for (auto const& [about, choice] : info.description) {
            std::printf("%-20s %s\n", about.c_str(), choice.c_str());
            object["choices"][about] = choice;
        }

        if (!data.empty()) {
            auto const set = load_dataset_yaml(data, {Split::train});
            require_images(set, Split::train, data);
            images = static_cast<int>(find_images(set.train).size());
        }
        if (images > 0) {
            auto const steps = (images + batch_size - 1) / batch_size;
            int const length = epochs > 0 ? epochs : info.schedule.epochs;
            std::printf("\nschedule: %d images, batch size %d: %d steps an epoch, %d epochs\n", images,
                        batch_size, steps, length);
            auto const events = qat::plan(info.schedule, steps, length);
            if (events.empty()) std::printf("  nothing is switched\n");
            object["schedule"] = nlohmann::ordered_json::array();
            for (auto const& event : events) {
                std::printf("  %s\n", event.what.c_str());
                object["schedule"].push_back({{"step", event.step}, {"what", event.what}});
            }
        }

        auto const detector = info.make({.size = size_named(size), .classes = classes});
        auto const graph = detector->trace({1, 3, image_size, image_size});
        auto const& groups = detector->scale_groups();
        std::int64_t parameters = 0;
        for (auto const& p : detector->module().parameters()) parameters += p.numel();
        std::printf("\nnetwork: %lld parameters, %zu nodes\n", static_cast<long long>(parameters),
                    graph.nodes.size());
        object["parameters"] = parameters, object["nodes"] = graph.nodes.size();

        if (info.quantized) {
            auto const misaligned = qat::nn::misaligned_joins(graph);
            auto const joins = std::count_if(graph.nodes.begin(), graph.nodes.end(), qat::graph::is_join);
            object["scale_groups"] = nlohmann::ordered_json::array();
            if (!groups.empty())
                std::printf("\nscale groups: results that share one grid, and where they meet\n");
            for (std::size_t k = 0; k < groups.size(); ++k) {
                std::printf("g%-3zu", k);
                for (auto const& member : groups[k].members) std::printf(" %s", member.c_str());
                std::printf("  |");
                for (auto const& join : groups[k].joins) std::printf(" %s", join.c_str());
                std::printf("\n");
                object["scale_groups"].push_back(
                    {{"members", groups[k].members}, {"joins", groups[k].joins}});
            }
            std::printf("\njoins whose inputs share one quantizer: %ld of %ld%s\n",
                        static_cast<long>(joins) - static_cast<long>(misaligned.size()),
                        static_cast<long>(joins), misaligned.empty() ? ": all" : "");
            for (auto const& join : misaligned) std::printf("  not %s\n", join.c_str());
            object["joins"] = joins, object["misaligned_joins"] = misaligned;
            if (!groups.empty() && !misaligned.empty())
                throw std::runtime_error("aligned joins whose inputs have different quantizers: this is a "
                                         "defect, please report it");
        }
        if (!dot.empty()) {
            auto const write =
                [&](std::string const& file, std::vector<qat::graph::ScaleGroup> const& shared) {
                std::ostringstream text;
                qat::graph::write_dot(text, graph, shared);
                write_atomically(file, text.str());
                std::printf("\n%s: render it with dot -Tsvg %s -o network.svg\n", file.c_str(), file.c_str());
            };
            write(dot,
                  groups.empty() ? std::vector<qat::graph::ScaleGroup>{} : qat::graph::scale_groups(graph));
            if (!groups.empty())  // fused, and not yet bound
                write(std::filesystem::path(dot).replace_extension(".unbound.dot").string(), {});
        }
        if (!json.empty()) write_json(json, object);
        return 0;
    });
}

}  // namespace yolo::apps
