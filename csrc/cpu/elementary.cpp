#include "elementary.h"

#include "../common/elementary.h"

namespace fastgan {
namespace {

template <class A, class Function>
bool map(const A* x, A* y, std::int64_t count, Function function) {
  for (std::int64_t i = 0; i < count; ++i) y[i] = function(x[i]);
  return true;
}

template <class A>
bool apply(std::string_view name, const A* x, A* y, std::int64_t count) {
  if (name == "exp") return map(x, y, count, [](A a) { return exp_nonpositive(a); });
  if (name == "expm1") return map(x, y, count, [](A a) { return expm1_nonpositive(a); });
  if (name == "log1p") return map(x, y, count, [](A a) { return log1p_unit(a); });
  if (name == "sigmoid") return map(x, y, count, [](A a) { return sigmoid(a); });
  if (name == "tanh") return map(x, y, count, [](A a) { return hyperbolic_tangent(a); });
  return false;
}

}  // namespace

bool elementary(std::string_view name, const float* input, float* output, std::int64_t count) {
  return apply(name, input, output, count);
}

bool elementary(std::string_view name, const double* input, double* output, std::int64_t count) {
  return apply(name, input, output, count);
}

}  // namespace fastgan
