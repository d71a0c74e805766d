#include "policy/repository.h"

#include <algorithm>

#include "base/fs.h"

namespace carrel {
namespace {

constexpr std::string_view kHttps = "https://";
constexpr std::string_view kFile = "file://";

bool IsHostChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == ':';
}

bool IsNormalHttps(std::string_view url) {
  std::string_view rest = url.substr(kHttps.size());
  const size_t slash = rest.find('/');
  const std::string_view host = rest.substr(0, slash);
  if (host.empty() || host.front() == '-' || !std::all_of(host.begin(), host.end(), IsHostChar))
    return false;
  return slash == std::string_view::npos || IsNormalRelativePath(rest.substr(slash + 1));
}

}  // namespace

Result<std::string> NormalRepository(const std::string& url) {
  std::string normal = url;
  while (normal.size() > 1 && normal.ends_with('/')) normal.pop_back();
  // Escapes and other alphabets would let two spellings mean one place, or one spelling two.
  const bool plain = std::all_of(normal.begin(), normal.end(), [](char c) {
    return c > 0x20 && c < 0x7f &&
           std::string_view("%?#@\\\"'`$*<>|;&").find(c) == std::string_view::npos;
  });
  if (plain && normal.starts_with(kFile)) normal = normal.substr(kFile.size());
  const bool https = normal.starts_with(kHttps);
  const bool path = normal.size() > 1 && normal[0] == '/' && IsNormalRelativePath(normal.substr(1));
  if (!plain || (https ? !IsNormalHttps(normal) : !path))
    return BadInput("/repo_url", "not a repository that carrel can fetch from",
                    "Use https://HOST/PATH without user, query or escapes, or an absolute path");
  return normal;
}

bool IsRepositoryAllowed(const std::string& repository, const std::vector<std::string>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&](const std::string& text) {
    auto prefix = NormalRepository(text);
    return prefix && repository.starts_with(*prefix) &&
           (repository.size() == prefix->size() || repository[prefix->size()] == '/');
  });
}

Result<std::string> RequireAllowedRepository(const std::string& url,
                                             const std::vector<std::string>& prefixes) {
  CARREL_ASSIGN(std::string normal, NormalRepository(url));
  if (IsRepositoryAllowed(normal, prefixes)) return normal;
  return Refused("/repo_url", "the repository " + normal + " is not one that this host allows",
                 "allowed_repositories in the configuration lists them");
}

}  // namespace carrel
