// Where the taps of upfirdn2d fall along one axis. Output o reads places o * down - padding + k of the upsampled axis,
// for k in [0, taps); of these only multiples of `up` hold an element of the input, the others an inserted zero.
#pragma once

#include "numeric.h"

namespace fastgan {

struct ResampledAxis {
  long long input, output;            // elements
  long long taps, up, down, padding;  // the padding in front; negative where it crops
};

// The taps that read something: k = first, first + up, ..., `count` of them, and the input element the first one reads.
// The elements follow each other, and may lie outside of [0, input), where they are zero.
struct Taps {
  long long first, count, element;
};

FASTGAN_HD long long floor_divide(long long a, long long b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

FASTGAN_HD Taps taps_of(const ResampledAxis& axis, long long output) {
  const long long place = output * axis.down - axis.padding;
  const long long element = -floor_divide(-place, axis.up);  // rounded up
  const long long first = element * axis.up - place;
  return {first, first < axis.taps ? (axis.taps - first + axis.up - 1) / axis.up : 0, element};
}

// Taps are stored as of a true convolution; a correlation reads them as they are.
FASTGAN_HD long long stored_tap(long long k, long long taps, bool flip) { return flip ? k : taps - 1 - k; }

}  // namespace fastgan
