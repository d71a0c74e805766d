// The part of Go's text/template that docker's callers use in --format: text, {{.A.B}},
// {{json .A}}, {{index .A "key"}}; everything else is refused.
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"

namespace carrel {

/// `text` with its actions replaced by members of `value`. A member that is not there is kBadInput
/// ("map has no entry for key"), as is any other syntax. "\t" and "\n" written as two characters
/// become a tab and a line end, as docker's client does.
Result<std::string> RenderGoTemplate(const std::string& text, const OrderedJson& value);

}  // namespace carrel
