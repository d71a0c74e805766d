#include "image/names.h"

#include <algorithm>

namespace carrel {
namespace {

constexpr size_t kMaxName = 120;  // with the longest tag it is still one file name
constexpr size_t kMaxTag = 128;

bool IsLowerAlnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool IsNamePart(std::string_view part) {
  return !part.empty() && IsLowerAlnum(part.front()) && IsLowerAlnum(part.back()) &&
         part.find("..") == std::string_view::npos &&
         std::all_of(part.begin(), part.end(),
                     [](char c) { return IsLowerAlnum(c) || c == '.' || c == '_' || c == '-'; });
}

bool IsTag(std::string_view tag) {
  return !tag.empty() && tag.size() <= kMaxTag && std::all_of(tag.begin(), tag.end(), [](char c) {
    return IsLowerAlnum(c) || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' || c == '-';
  });
}

}  // namespace

std::string PrintableName(std::string_view raw) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (char c : raw) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f && c != '\\') {
      text += c;
    } else {
      text += "\\x";
      text += kDigits[byte >> 4];
      text += kDigits[byte & 15];
    }
  }
  return text;
}

bool IsImageNameWithoutTag(std::string_view name) {
  // "sha256:..." is a digest everywhere else.
  if (name.empty() || name.size() > kMaxName || name == "sha256") return false;
  for (;;) {
    const size_t slash = name.find('/');
    if (!IsNamePart(name.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    name.remove_prefix(slash + 1);
  }
}

Result<void> CheckImageName(const std::string& name) {
  const size_t colon = name.find(':');
  if (colon == std::string::npos)
    return BadInput(PrintableName(name), "an image name needs a tag", "Write NAME:TAG");
  if (!IsImageNameWithoutTag(std::string_view(name).substr(0, colon)) ||
      !IsTag(std::string_view(name).substr(colon + 1)))
    return BadInput(PrintableName(name), "not an image name",
                    "NAME:TAG; the name of a-z 0-9 . _ - /, the tag of letters, digits, . _ -");
  return {};
}

std::string NameToFile(std::string name) {
  std::replace(name.begin(), name.end(), '/', '%');
  return name;
}

std::string FileToName(std::string file) {
  std::replace(file.begin(), file.end(), '%', '/');
  return file;
}

}  // namespace carrel
