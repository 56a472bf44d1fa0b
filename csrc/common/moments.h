// Mean and sum of squared deviations of numbers that arrive in pieces.
//
// T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances",
// 1979, eq. 2.1.
#pragma once

#include "numeric.h"

namespace fastgan {

struct Moments {
  double count = 0, mean = 0, m2 = 0;

  // From sums of x - shift and (x - shift)²: exact enough where the shift is of the numbers' own size.
  static FASTGAN_HD Moments of_shifted(double count, double shift, double sum, double sum_of_squares) {
    const double offset = count > 0 ? sum / count : 0;
    const double m2 = sum_of_squares - sum * offset;
    return {count, shift + offset, m2 < 0 ? 0 : m2};
  }

  FASTGAN_HD void merge(const Moments& other) {
    if (other.count == 0) return;
    const double total = count + other.count;
    const double distance = other.mean - mean;
    mean += distance * (other.count / total);
    m2 += other.m2 + distance * distance * (count * other.count / total);
    count = total;
  }
};

}  // namespace fastgan
