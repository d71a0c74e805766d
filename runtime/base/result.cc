#include "base/result.h"

#include <cstring>

namespace carrel {

std::string ErrnoName(int code) {
  const char* name = strerrorname_np(code);
  return name != nullptr ? name : std::to_string(code);
}

std::string Error::ToString() const {
  std::string text = where.empty() ? what : where + ": " + what;
  if (code != 0) text += ": " + ErrnoName(code) + " (" + strerrordesc_np(code) + ")";
  if (!hint.empty()) text += ". " + hint;
  return text;
}

Error BadInput(std::string where, std::string what, std::string hint) {
  return {ErrorKind::kBadInput, std::move(what), std::move(where), std::move(hint), 0};
}

Error Refused(std::string where, std::string what, std::string hint) {
  return {ErrorKind::kRefused, std::move(what), std::move(where), std::move(hint), 0};
}

Error Fault(std::string where, std::string what, std::string hint) {
  return {ErrorKind::kFault, std::move(what), std::move(where), std::move(hint), 0};
}

Error SysFault(std::string where, std::string what, int code) {
  return {ErrorKind::kFault, std::move(what), std::move(where), "", code};
}

}  // namespace carrel
