// The rotation of Jacobi's method for symmetric matrices (Golub and Van Loan, Matrix Computations, section 8.5).
#pragma once

#include "numeric.h"

namespace fastgan {

// With J = [c s; -s c] on the coordinates p and q, JᵀAJ has zero in place of a_pq, a_pp - t a_pq and a_qq + t a_pq. In
// place of c stands r = s / (1 + c): a rotation by a small angle then adds a small correction, which rounds less than
// a product with c does (Rutishauser, "The Jacobi method for real symmetric matrices", 1966).
template <class A>
struct JacobiRotation {
  A s, r, t;

  // `root` is the square root of A. a_pq is not zero, nor so small beside the others that their quotient overflows.
  template <class Root>
  static FASTGAN_HD JacobiRotation annihilating(A a_pp, A a_qq, A a_pq, Root root) {
    const A tau = (a_qq - a_pp) / (A(2) * a_pq);
    const A size = tau < A(0) ? -tau : tau;
    const A angle = A(1) / (size + root(A(1) + tau * tau));  // of the two, the rotation by at most 45 degrees
    const A t = tau < A(0) ? -angle : angle;
    const A c = A(1) / root(A(1) + t * t);
    return {t * c, t * c / (A(1) + c), t};
  }

  // What becomes of the coordinates x_p and x_q.
  FASTGAN_HD void apply(A& p, A& q) const {
    const A turned = p - s * (q + r * p);
    q = q + s * (p - r * q);
    p = turned;
  }
};

}  // namespace fastgan
