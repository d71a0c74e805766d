// Which repositories code may come from.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace carrel {

/// A URL or local path that is written in the one way that carrel compares: "https://host/path"
/// (no user, port allowed, no query, fragment, '%', "..", "//" or '\\') or an absolute normal path.
/// "file:///path" becomes the path. Anything else (ssh, git, ext::, a leading '-') is kBadInput.
Result<std::string> NormalRepository(const std::string& url);

/// True when one of `prefixes` is `repository` or a parent of it on a boundary of path components:
/// "https://github.com/opensafely" allows ".../opensafely/x" and not ".../opensafely-evil/x".
/// Prefixes that are not normal allow nothing.
bool IsRepositoryAllowed(const std::string& repository, const std::vector<std::string>& prefixes);

/// The normal form of `url`, when a prefix allows it; kBadInput or kRefused otherwise.
Result<std::string> RequireAllowedRepository(const std::string& url,
                                             const std::vector<std::string>& prefixes);

}  // namespace carrel
