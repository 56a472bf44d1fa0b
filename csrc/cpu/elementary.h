// The functions of common/elementary.h over an array, as this level's compiler made them, so that tests can measure
// their error.
#pragma once

#include <cstdint>
#include <string_view>

namespace fastgan {

// False for a name that is none of them.
bool elementary(std::string_view name, const float* input, float* output, std::int64_t count);
bool elementary(std::string_view name, const double* input, double* output, std::int64_t count);

}  // namespace fastgan
