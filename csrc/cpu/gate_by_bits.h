// On which side of zero elements lie, one bit for each, and products with the slope of an activation that bends there.
#pragma once

#include <cstdint>

#include "parallel.h"

namespace fastgan {

struct GateByBitsCall {
  DType dtype;
  int64_t total;
  int threads;
};

// Bit i % 8 of byte i / 8 says whether element i of input is above zero, which NaN is not; bits beyond the last are 0.
void sign_bits(const GateByBitsCall& call, const void* input, void* bits);

// output = gain input where the bit is set, and gain alpha input elsewhere; 0 there, whatever the input, where alpha is
// 0.
void gate_by_bits(const GateByBitsCall& call, const void* input, const void* bits, double alpha, double gain,
                  void* output);

}  // namespace fastgan
