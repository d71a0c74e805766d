// What the decoders of the host configuration and of levels.json share.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "base/json.h"

namespace carrel::config_decode {

/// An optional absolute path without "..", "//" or a "/" at its end; anything else is a problem.
void DecodePath(JsonObject& in, const std::string& key, std::string& path);

/// An optional octal mode such as "0640", without access for others and without setuid.
void DecodeMode(JsonObject& in, const std::string& key, mode_t& mode);

/// "0640".
std::string Octal(mode_t mode);

/// By name in /etc/passwd and /etc/group (no NSS: a static program loads no plug-in).
std::optional<uint32_t> FindUser(const std::string& name);
std::optional<uint32_t> FindGroup(const std::string& name);

}  // namespace carrel::config_decode
