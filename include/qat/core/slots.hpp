#pragma once
// The axes of choice. A policy names the slot it fills; a folder below qat/core holds one slot's alternatives.

namespace qat::slot {

// of a Quantizer: how one tensor is put on a grid
struct format;     // which integers
struct scheme;     // who shares a scale, and whether there is a zero point
struct observer;   // which range the grid has to cover
struct scale;      // which real numbers a scale may be
struct rounding;   // of x / s at a tie
struct estimator;  // the gradient
struct movement;   // when the scale follows the range

// of an Experiment: what the network computes
struct name;
struct activation;
struct weights;
struct outputs;
struct input;
struct head;
struct join;
struct batch_norm;
struct bias;
struct saves;       // what is kept of an activation for the backward pass
struct exceptions;  // stages whose quantizers differ

// of an Experiment: when training switches something
struct start;
struct observers;
struct statistics;
struct thresholds;
struct bits;
struct reestimation;
struct oscillation;
struct epochs;

}  // namespace qat::slot
