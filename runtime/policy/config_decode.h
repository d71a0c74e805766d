// What the decoders of the host configuration's parts share.
#pragma once

#include <string>

#include "base/json.h"

namespace carrel::config_decode {

/// An optional absolute path without "..", "//" or a "/" at its end; anything else is a problem.
void DecodePath(JsonObject& in, const std::string& key, std::string& path);

}  // namespace carrel::config_decode
