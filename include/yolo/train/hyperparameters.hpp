#pragma once
// The numbers of a training run that YOLOv5 keeps in hyp.*.yaml; same names, same meaning, defaults of scratch-low. The
// last one is ours.

namespace yolo {

struct Hyperparameters {
    // optimizer
    double lr0 = 0.01;             // initial learning rate (SGD 1e-2, Adam 1e-3)
    double lrf = 0.01;             // the last epoch's learning rate is lr0 * lrf
    double momentum = 0.937;       // SGD momentum or Adam beta1
    double weight_decay = 0.0005;  // for the nominal batch of 64
    double warmup_epochs = 3.0;    // may be a fraction
    double warmup_momentum = 0.8;  // momentum at the first step
    double warmup_bias_lr = 0.1;   // learning rate of the biases at the first step
    // loss
    double box = 0.05;             // gain of 1 - CIoU
    double cls = 0.5;              // gain of the class loss
    double cls_pw = 1.0;           // weight of positives in the class loss
    double obj = 1.0;              // gain of the objectness loss
    double obj_pw = 1.0;           // weight of positives in the objectness loss
    double iou_t = 0.20;           // kept for compatibility; not used by training
    double anchor_t = 4.0;         // largest ratio between a box and an anchor that it may use
    double fl_gamma = 0.0;         // focal loss gamma; 0: plain cross-entropy
    double label_smoothing = 0.0;  // epsilon
    // augmentation
    double hsv_h = 0.015, hsv_s = 0.7, hsv_v = 0.4;  // fractions
    double degrees = 0.0;                            // rotation, +/- degrees
    double translate = 0.1;                          // +/- fraction of the image
    double scale = 0.5;                              // +/- gain
    double shear = 0.0;                              // +/- degrees
    double perspective = 0.0;                        // +/- fraction, 0 to 0.001
    double flipud = 0.0, fliplr = 0.5;               // probabilities
    double mosaic = 1.0;                             // probability
    double mixup = 0.0;                              // probability
    double copy_paste = 0.0;                         // probability
    // quantization
    // Rate of learned scales, in units of the weights' rate; they do not decay. LSQ (Esser et al. 2020) trains both alike,
    // at 0.001 for 8 bits, but on a mean over images where YOLOv5's loss is a sum over 64: 0.1 times our lr0 of 0.001 makes
    // steps of about the same size.
    double quantizer_lr = 0.1;
};

/// Of a quantized experiment unless told otherwise: configs/hyp/m-relu-tune.yaml, with which the reference study trained
/// its own. The weights are nearly where they should be; ten times smaller steps keep them inside the ranges.
constexpr Hyperparameters quantized_hyperparameters() {
    Hyperparameters hyp;
    hyp.lr0 = 0.001, hyp.lrf = 0.001, hyp.warmup_bias_lr = 0.01;
    return hyp;
}

}  // namespace yolo
