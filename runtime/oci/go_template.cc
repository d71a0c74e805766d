#include "oci/go_template.h"

#include <vector>

namespace carrel {
namespace {

Error Unknown(const std::string& what, const std::string& action) {
  return BadInput("--format", "template parsing error: " + what + " in {{" + action + "}}",
                  "carrel knows {{.A.B}}, {{json .A.B}} and {{index .A \"key\"}}");
}

// Splits at blanks; a "quoted part" is one word, quotes kept.
std::vector<std::string> Words(const std::string& action) {
  std::vector<std::string> words;
  std::string word;
  bool quoted = false;
  for (const char c : action) {
    if (c == '"') quoted = !quoted;
    if (!quoted && (c == ' ' || c == '\t')) {
      if (!word.empty()) words.push_back(std::move(word));
      word.clear();
    } else {
      word += c;
    }
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

// The Go struct's field is ID where its JSON says Id.
const OrderedJson* Member(const OrderedJson& value, const std::string& name) {
  if (!value.is_object()) return nullptr;
  auto found = value.find(name);
  if (found == value.end() && name == "ID") found = value.find("Id");
  return found == value.end() ? nullptr : &*found;
}

Result<const OrderedJson*> FollowPath(const std::string& path, const OrderedJson& value,
                                      const std::string& action) {
  if (path.empty() || path[0] != '.') return Unknown("unexpected \"" + path + "\"", action);
  const OrderedJson* at = &value;
  for (size_t start = 1; start < path.size();) {
    const size_t end = std::min(path.find('.', start), path.size());
    const std::string name = path.substr(start, end - start);
    at = Member(*at, name);
    if (at == nullptr) return Unknown("map has no entry for key \"" + name + "\"", action);
    start = end + 1;
  }
  return at;
}

std::string Plain(const OrderedJson& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_null()) return "<no value>";
  return value.dump();
}

Result<std::string> Evaluate(const std::string& action, const OrderedJson& value) {
  const std::vector<std::string> words = Words(action);
  if (words.size() == 1) {
    CARREL_ASSIGN(const OrderedJson* found, FollowPath(words[0], value, action));
    return Plain(*found);
  }
  if (words.size() == 2 && words[0] == "json") {
    CARREL_ASSIGN(const OrderedJson* found, FollowPath(words[1], value, action));
    return found->dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
  }
  if (words.size() == 3 && words[0] == "index" && words[2].size() >= 2 && words[2][0] == '"') {
    CARREL_ASSIGN(const OrderedJson* found, FollowPath(words[1], value, action));
    const OrderedJson* member = Member(*found, words[2].substr(1, words[2].size() - 2));
    return member == nullptr ? std::string() : Plain(*member);
  }
  return Unknown("unknown action", action);
}

void AddText(const std::string& text, std::string& out) {
  for (size_t i = 0; i < text.size(); ++i) {
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (text[i] == '\\' && (next == 't' || next == 'n')) {
      out += next == 't' ? '\t' : '\n';
      ++i;
    } else {
      out += text[i];
    }
  }
}

}  // namespace

Result<std::string> RenderGoTemplate(const std::string& text, const OrderedJson& value) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t open = std::min(text.find("{{", at), text.size());
    AddText(text.substr(at, open - at), out);
    if (open == text.size()) break;
    const size_t close = text.find("}}", open);
    if (close == std::string::npos) return Unknown("unclosed action", text.substr(open + 2));
    CARREL_ASSIGN(const std::string part, Evaluate(text.substr(open + 2, close - open - 2), value));
    out += part;
    at = close + 2;
  }
  return out;
}

}  // namespace carrel
