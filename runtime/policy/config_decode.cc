#include "policy/config_decode.h"

#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "base/fs.h"

namespace carrel::config_decode {

void DecodePath(JsonObject& in, const std::string& key, std::string& path) {
  auto text = in.String(key);
  if (!text) return;
  if (text->size() > 1 && (*text)[0] == '/' && IsNormalRelativePath(text->substr(1)))
    path = *text;
  else
    in.Problem(key, "must be an absolute path without \"..\", \"//\" or a \"/\" at its end");
}

void DecodeMode(JsonObject& in, const std::string& key, mode_t& mode) {
  auto text = in.String(key, 4);
  if (!text) return;
  const bool octal = text->size() >= 3 && std::all_of(text->begin(), text->end(),
                                                      [](char c) { return c >= '0' && c <= '7'; });
  const mode_t bits = octal ? static_cast<mode_t>(std::stoul(*text, nullptr, 8)) : 0;
  // Bits above 0777 would be setuid; for others there is no level that all users may read or write.
  if (!octal || (bits & ~mode_t{02770}) != 0)
    in.Problem(key, "must be an octal mode such as \"0640\" without access for others");
  else
    mode = bits;
}

std::string Octal(mode_t mode) {
  char text[8];
  snprintf(text, sizeof text, "%04o", mode);
  return text;
}

std::optional<uid_t> FindUser(const std::string& name) {
  std::unique_ptr<FILE, int (*)(FILE*)> file(::fopen("/etc/passwd", "re"), &::fclose);
  if (file == nullptr) return std::nullopt;
  while (const passwd* entry = ::fgetpwent(file.get()))
    if (name == entry->pw_name) return entry->pw_uid;
  return std::nullopt;
}

std::optional<gid_t> FindGroup(const std::string& name) {
  std::unique_ptr<FILE, int (*)(FILE*)> file(::fopen("/etc/group", "re"), &::fclose);
  if (file == nullptr) return std::nullopt;
  while (const group* entry = ::fgetgrent(file.get()))
    if (name == entry->gr_name) return entry->gr_gid;
  return std::nullopt;
}

}  // namespace carrel::config_decode
