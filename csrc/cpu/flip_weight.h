// The weight of a convolution as the transposed convolution that undoes its strides wants it: flipped, and with the
// channels of input and output exchanged within each group.
#pragma once

#include <cstdint>

namespace fastgan {

// Strides in elements.
struct FlipWeightCall {
  int itemsize;
  int64_t groups, rows, columns, taps;  // rows and columns are channels of a group
  int64_t in_group, in_row, in_column, in_tap;
  int64_t out_group, out_row, out_column, out_tap;
  int threads;
};

// output[group][column][row][taps - 1 - tap] = input[group][row][column][tap], where the output's strides are named by
// the input's rows and columns.
void flip_weight(const FlipWeightCall& call, const void* input, void* output);

}  // namespace fastgan
