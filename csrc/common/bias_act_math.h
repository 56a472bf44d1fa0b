// The activations of bias_act: value, slope, and the slope's derivative. Slopes are functions of a point p: of the
// activation's own value a = act(z), or of z = x + b where `from_input` says that a does not determine it.
// The codes are those of fastgan/ops/bias_act/activations.py.
#pragma once

#include "elementary.h"

namespace fastgan {
namespace activation {

struct Linear {
  static constexpr int code = 0;
  static constexpr bool from_input = false;
  template <class A>
  static FASTGAN_HD A value(A z, A) {
    return z;
  }
  template <class A>
  static FASTGAN_HD A slope(A, A) {
    return A(1);
  }
  template <class A>
  static FASTGAN_HD A curvature(A) {
    return A(0);
  }
};

struct Relu : Linear {
  static constexpr int code = 1;
  template <class A>
  static FASTGAN_HD A value(A z, A) {
    return z < A(0) ? A(0) : z;  // this way round NaN passes
  }
  template <class A>
  static FASTGAN_HD A slope(A p, A) {
    return p > A(0) ? A(1) : A(0);
  }
};

struct LeakyRelu : Linear {
  static constexpr int code = 2;
  template <class A>
  static FASTGAN_HD A value(A z, A alpha) {
    return z > A(0) ? z : z * alpha;
  }
  template <class A>
  static FASTGAN_HD A slope(A p, A alpha) {
    return p > A(0) ? A(1) : alpha;
  }
};

struct LeakyReluFromInput : LeakyRelu {  // a negative slope: the output's sign says nothing
  static constexpr int code = 9;
  static constexpr bool from_input = true;
};

struct Tanh {
  static constexpr int code = 3;
  static constexpr bool from_input = false;
  template <class A>
  static FASTGAN_HD A value(A z, A) {
    return hyperbolic_tangent(z);
  }
  template <class A>
  static FASTGAN_HD A slope(A p, A) {
    return A(1) - p * p;
  }
  template <class A>
  static FASTGAN_HD A curvature(A p) {
    return A(-2) * p;
  }
};

struct Sigmoid {
  static constexpr int code = 4;
  static constexpr bool from_input = false;
  template <class A>
  static FASTGAN_HD A value(A z, A) {
    return sigmoid(z);
  }
  template <class A>
  static FASTGAN_HD A slope(A p, A) {
    return p * (A(1) - p);
  }
  template <class A>
  static FASTGAN_HD A curvature(A p) {
    return A(1) - A(2) * p;
  }
};

struct Elu {
  static constexpr int code = 5;
  static constexpr bool from_input = false;
  template <class A>
  static FASTGAN_HD A value(A z, A) {
    return z > A(0) ? z : expm1_nonpositive(z);
  }
  template <class A>
  static FASTGAN_HD A slope(A p, A) {
    return p > A(0) ? A(1) : p + A(1);
  }
  template <class A>
  static FASTGAN_HD A curvature(A p) {
    return p > A(0) ? A(0) : A(1);
  }
};

struct Selu : Elu {
  static constexpr int code = 6;
  static constexpr double scale = 1.0507009873554804934193349852946;
  static constexpr double alpha_scale = scale * 1.6732632423543772848170429916717;
  template <class A>
  static FASTGAN_HD A value(A z, A) {
    return z > A(0) ? A(scale) * z : A(alpha_scale) * expm1_nonpositive(z);
  }
  template <class A>
  static FASTGAN_HD A slope(A p, A) {
    return p > A(0) ? A(scale) : p + A(alpha_scale);
  }
};

struct Softplus {
  static constexpr int code = 7;
  static constexpr bool from_input = false;
  template <class A>
  static FASTGAN_HD A value(A z, A) {
    return (z < A(0) ? A(0) : z) + log1p_unit(exp_nonpositive(-absolute(z)));
  }
  template <class A>
  static FASTGAN_HD A slope(A p, A) {
    return -expm1_nonpositive(-p);
  }
  template <class A>
  static FASTGAN_HD A curvature(A p) {
    return exp_nonpositive(-p);
  }
};

struct Swish {
  static constexpr int code = 8;
  static constexpr bool from_input = true;
  template <class A>
  static FASTGAN_HD A value(A z, A) {
    return z * sigmoid(z);
  }
  template <class A>
  static FASTGAN_HD A slope(A p, A) {
    const A s = sigmoid(p);
    return s * (A(1) + p * (A(1) - s));
  }
  template <class A>
  static FASTGAN_HD A curvature(A p) {
    const A s = sigmoid(p);
    return s * (A(1) - s) * (A(2) + p * (A(1) - A(2) * s));
  }
};

}  // namespace activation

// Calls body(Act{}) with the activation of that number.
template <class Body>
FASTGAN_HD void with_activation(int code, Body&& body) {
  switch (code) {
    case activation::Linear::code: body(activation::Linear{}); break;
    case activation::Relu::code: body(activation::Relu{}); break;
    case activation::LeakyRelu::code: body(activation::LeakyRelu{}); break;
    case activation::Tanh::code: body(activation::Tanh{}); break;
    case activation::Sigmoid::code: body(activation::Sigmoid{}); break;
    case activation::Elu::code: body(activation::Elu{}); break;
    case activation::Selu::code: body(activation::Selu{}); break;
    case activation::Softplus::code: body(activation::Softplus{}); break;
    case activation::Swish::code: body(activation::Swish{}); break;
    case activation::LeakyReluFromInput::code: body(activation::LeakyReluFromInput{}); break;
  }
}

// The CPU compiles whole loops for each activation, and does with fewer of them. Calls body(Act{}) with the one of Acts
// that has this code.
template <class... Acts, class Body>
FASTGAN_HD void with_one_of(int code, Body&& body) {
  ((code == Acts::code ? body(Acts{}) : void()), ...);
}

// For an activation's values: those of leaky ReLU do not depend on where its slope is taken.
template <class Body>
FASTGAN_HD void with_activation_value(int code, Body&& body) {
  using namespace activation;
  with_one_of<Linear, Relu, LeakyRelu, Tanh, Sigmoid, Elu, Selu, Softplus, Swish>(
      code == LeakyReluFromInput::code ? LeakyRelu::code : code, body);
}

// For its slopes, of a call that has passed through sharing_slopes.
template <class Body>
FASTGAN_HD void with_activation_slope(int code, Body&& body) {
  using namespace activation;
  with_one_of<Linear, LeakyRelu, Tanh, Sigmoid, Elu, Selu, Softplus, Swish, LeakyReluFromInput>(code, body);
}

template <class Body>
FASTGAN_HD void with_piecewise_linear(int code, Body&& body) {
  using namespace activation;
  with_one_of<Linear, Relu, LeakyRelu>(code, body);
}

template <class Body>
FASTGAN_HD void with_piecewise_linear_slope(int code, Body&& body) {
  using namespace activation;
  with_one_of<Linear, LeakyRelu>(code, body);
}

// The slopes of ReLU are those of leaky ReLU with alpha 0 (the values are not: of infinity and of NaN).
template <class Call>
FASTGAN_HD Call sharing_slopes(Call call) {
  if (call.act == activation::Relu::code) {
    call.act = activation::LeakyRelu::code;
    call.alpha = 0;
  }
  return call;
}

// A is the type one element is computed in, T the stored one.
template <class A>
struct BiasActParameters {
  A alpha, gain;
  A inverse_gain;  // 0 for gain 0
  A bound;         // of the clamp, rounded to T; NaN, which compares false, without a clamp
};

template <class Act, class A>
FASTGAN_HD A bias_act_value(A z, const BiasActParameters<A>& p) {
  const A y = Act::value(z, p.alpha) * p.gain;
  return y > p.bound ? p.bound : (y < -p.bound ? -p.bound : y);  // this way round NaN passes
}

// Where the derivatives are taken, and |y|: at and beyond the bound they are zero.
template <class A>
struct BiasActPoint {
  A point, magnitude;
};

template <class T, class Act, class A = accumulator_t<T>>
FASTGAN_HD BiasActPoint<A> bias_act_point(T saved, A bias, const BiasActParameters<A>& p) {
  if constexpr (Act::from_input) {
    const A z = load(saved) + bias;
    return {z, absolute(round_to<T>(Act::value(z, p.alpha) * p.gain))};
  } else {
    const A y = load(saved);
    return {y * p.inverse_gain, absolute(y)};
  }
}

// The products are computed before the choice, so that the loop has no branch.
template <class T, class Act, class A = accumulator_t<T>>
FASTGAN_HD A bias_act_gradient(A grad_output, T saved, A bias, const BiasActParameters<A>& p) {
  const auto at = bias_act_point<T, Act>(saved, bias, p);
  const A inside = grad_output * p.gain * Act::slope(at.point, p.alpha);
  return at.magnitude >= p.bound ? A(0) : inside;
}

// The gradient of bias_act_gradient with respect to `saved`, for the cotangent grad_grad_input. With respect to the
// output the gain cancels: d(gain slope(y / gain))/dy = slope'(y / gain).
template <class T, class Act, class A = accumulator_t<T>>
FASTGAN_HD A bias_act_saved_gradient(A grad_grad_input, A grad_output, T saved, A bias, const BiasActParameters<A>& p) {
  const auto at = bias_act_point<T, Act>(saved, bias, p);
  const A inside = grad_grad_input * grad_output * ((Act::from_input ? p.gain : A(1)) * Act::curvature(at.point));
  return at.magnitude >= p.bound ? A(0) : inside;
}

}  // namespace fastgan
