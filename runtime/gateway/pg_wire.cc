#include "gateway/pg_wire.h"

namespace carrel::gateway::pg {

std::string FatalError(std::string_view sqlstate, std::string_view text) {
  std::string body;
  auto add = [&](char field, std::string_view value) {
    body += field;
    body += value;
    body += '\0';
  };
  add('S', "FATAL");
  add('V', "FATAL");
  add('C', sqlstate);
  add('M', text);
  body += '\0';
  return Message('E', body);
}

std::string_view ErrorField(std::string_view body, char field) {
  while (!body.empty() && body[0] != '\0') {
    const char name = body[0];
    body.remove_prefix(1);
    std::string_view value;
    if (!TakeString(body, value)) return "";
    if (name == field) return value;
  }
  return "";
}

}  // namespace carrel::gateway::pg
