// Mean and sum of squared deviations of numbers that arrive in pieces.
//
// T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances",
// 1979, eq. 2.1.
#pragma once

#include "numeric.h"

namespace fastgan {

struct Moments {
  double count = 0, mean = 0, m2 = 0;

  FASTGAN_HD void merge(const Moments& other) {
    if (other.count == 0) return;
    if (count == 0) {  // without the divisions
      *this = other;
      return;
    }
    const double total = count + other.count;
    const double distance = other.mean - mean;
    mean += distance * (other.count / total);
    m2 += other.m2 + distance * distance * (count * other.count / total);
    count = total;
  }
};

}  // namespace fastgan
