// Products of small matrices whose columns lie in blocks of one vector: element (row, column) of a matrix is at
// (column / kLanes) · block + row · kLanes + column % kLanes. Sums run in registers, in order within stretches of the
// depth.
#pragma once

#include "winograd_vector.h"

namespace fastgan::winograd {

// A product's rows at most, so that with two vectors of columns the sums fill the registers.
constexpr int kRows = kRegisters == 32 ? 14 : 6;
// The same where the rows are part of one vector.
constexpr int kRowsTransposed = kLanes == 4 ? 4 : kLanes / 2;

struct Operand {
  const float* data;
  int64_t block;
};

// c [rows][vectors · kLanes] = a [rows][depth] b [depth][vectors · kLanes], rows in 1..kRows, vectors in 1..2, depth a
// multiple of kLanes. Vector j of row r of the result goes to c + j · c_block + r · kLanes.
void multiply(int rows, int vectors, int64_t depth, Operand a, Operand b, float* c, int64_t c_block);

// The same with a transposed: c [kRowsTransposed][...] = aᵀ b for a [depth][kRowsTransposed], of any depth.
void multiply_transposed(int vectors, int64_t depth, const float* a, Operand b, float* c, int64_t c_block);

}  // namespace fastgan::winograd
