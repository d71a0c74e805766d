#include "base/json.h"

#include <cmath>

#include "base/fs.h"

namespace carrel {
namespace {

constexpr size_t kMaxDepth = 64;

std::string EscapePointer(const std::string& key) {
  std::string escaped;
  for (char c : key) {
    if (c == '~')
      escaped += "~0";
    else if (c == '/')
      escaped += "~1";
    else if (static_cast<unsigned char>(c) < 0x20)
      escaped += '?';
    else
      escaped += c;
  }
  return escaped;
}

// Follows the parse to find what nlohmann_json accepts silently: a key given twice (the last wins
// there, the first elsewhere: two readers would see two documents) and nesting without end.
class Strictness {
 public:
  bool operator()(int depth, Json::parse_event_t event, const Json& parsed) {
    using Event = Json::parse_event_t;
    if (static_cast<size_t>(depth) > kMaxDepth) Add("nested deeper than 64 levels");
    switch (event) {
      case Event::object_start:
      case Event::array_start:
        Enter();
        levels_.push_back({event == Event::array_start, {}, "", 0});
        break;
      case Event::object_end:
      case Event::array_end:
        levels_.pop_back();
        break;
      case Event::key:
        TakeKey(parsed.get_ref<const std::string&>());
        break;
      case Event::value:
        Enter();
        break;
    }
    return true;
  }
  const std::string& problems() const { return problems_; }

 private:
  struct Level {
    bool array;
    std::set<std::string> keys;
    std::string key;
    size_t count;
  };

  // A member or element begins.
  void Enter() {
    if (!levels_.empty() && levels_.back().array) ++levels_.back().count;
  }

  void TakeKey(const std::string& key) {
    levels_.back().key = key;
    if (levels_.back().keys.insert(key).second) return;
    std::string pointer;
    for (const Level& level : levels_)
      pointer += "/" + (level.array ? std::to_string(level.count - 1)
                                    : EscapePointer(level.key).substr(0, 64));
    Add(pointer + ": the key \"" + key.substr(0, 64) + "\" appears twice in one object");
  }

  void Add(const std::string& problem) {
    if (++count_ <= kMaxProblems) problems_ += (problems_.empty() ? "" : "; ") + problem;
  }

  static constexpr size_t kMaxProblems = 20;
  std::vector<Level> levels_;
  std::string problems_;
  size_t count_ = 0;
};

// A deep document would overflow the parser's callback stack and the destructor: count first.
bool TooDeep(std::string_view text) {
  size_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (in_string) {
      if (text[i] == '\\')
        ++i;
      else if (text[i] == '"')
        in_string = false;
    } else if (text[i] == '"') {
      in_string = true;
    } else if (text[i] == '{' || text[i] == '[') {
      if (++depth > kMaxDepth) return true;
    } else if ((text[i] == '}' || text[i] == ']') && depth > 0) {
      --depth;
    }
  }
  return false;
}

}  // namespace

Result<Json> ParseJson(std::string_view text, const std::string& name, size_t max_bytes) {
  if (text.size() > max_bytes)
    return BadInput(name, "longer than " + std::to_string(max_bytes) + " bytes");
  if (TooDeep(text)) return BadInput(name, "nested deeper than 64 levels");
  Strictness strictness;
  try {
    Json value = Json::parse(text, std::ref(strictness));
    if (!strictness.problems().empty()) return BadInput(name, strictness.problems());
    return value;
  } catch (const Json::exception& error) {
    std::string what = error.what();
    size_t bracket = what.find("] ");  // drop "[json.exception.parse_error.101] "
    return BadInput(
        name, "not valid JSON: " + what.substr(bracket == std::string::npos ? 0 : bracket + 2));
  }
}

Result<Json> ReadJsonFile(const std::string& path, size_t max_bytes) {
  auto text = ReadFile(path, max_bytes);
  if (!text) {
    Error error = std::move(text).error();
    error.kind = ErrorKind::kBadInput;
    return error;
  }
  return ParseJson(*text, path, max_bytes);
}

JsonObject::JsonObject(const Json& value, std::string pointer)
    : value_(value), pointer_(std::move(pointer)) {
  if (!value_.is_object())
    problems_.push_back((pointer_.empty() ? "/" : pointer_) + ": must be an object, not " +
                        value_.type_name());
}

std::string JsonObject::PointerTo(const std::string& key) const {
  return pointer_ + "/" + EscapePointer(key);
}

void JsonObject::Problem(const std::string& key, const std::string& what) {
  problems_.push_back(PointerTo(key) + ": " + what);
}

void JsonObject::Merge(const Result<void>& nested) {
  if (!nested) problems_.push_back(nested.error().ToString());
}

const Json* JsonObject::Find(const std::string& key) {
  asked_.insert(key);
  if (!value_.is_object()) return nullptr;
  auto found = value_.find(key);
  return found == value_.end() ? nullptr : &*found;
}

bool JsonObject::Has(const std::string& key) const {
  return value_.is_object() && value_.contains(key);
}

const Json* JsonObject::Any(const std::string& key) { return Find(key); }

bool JsonObject::CheckString(const std::string& key, const Json& value, size_t max_bytes,
                             bool lines) {
  if (!value.is_string()) {
    Problem(key, std::string("must be a string, not ") + value.type_name());
    return false;
  }
  const auto& text = value.get_ref<const std::string&>();
  if (text.size() > max_bytes) {
    Problem(key, "longer than " + std::to_string(max_bytes) + " bytes");
    return false;
  }
  for (char c : text) {
    bool control = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    if (control && !(lines && (c == '\n' || c == '\t'))) {
      Problem(key, "holds a NUL or control character");
      return false;
    }
  }
  return true;
}

std::optional<std::string> JsonObject::String(const std::string& key, size_t max_bytes) {
  const Json* found = Find(key);
  if (found == nullptr || !CheckString(key, *found, max_bytes, false)) return std::nullopt;
  return found->get<std::string>();
}

std::optional<std::string> JsonObject::Text(const std::string& key, size_t max_bytes) {
  const Json* found = Find(key);
  if (found == nullptr || !CheckString(key, *found, max_bytes, true)) return std::nullopt;
  return found->get<std::string>();
}

std::optional<int64_t> JsonObject::Int(const std::string& key, int64_t min, int64_t max) {
  const Json* found = Find(key);
  if (found == nullptr) return std::nullopt;
  const bool fits =
      found->is_number_integer() &&
      !(found->is_number_unsigned() && found->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX));
  if (fits && found->get<int64_t>() >= min && found->get<int64_t>() <= max)
    return found->get<int64_t>();
  Problem(key, "must be a whole number from " + std::to_string(min) + " to " + std::to_string(max));
  return std::nullopt;
}

std::optional<double> JsonObject::Double(const std::string& key, double min, double max) {
  const Json* found = Find(key);
  if (found == nullptr) return std::nullopt;
  if (found->is_number()) {
    double number = found->get<double>();
    if (std::isfinite(number) && number >= min && number <= max) return number;
  }
  Problem(key, "must be a number from " + Json(min).dump() + " to " + Json(max).dump());
  return std::nullopt;
}

std::optional<bool> JsonObject::Bool(const std::string& key) {
  const Json* found = Find(key);
  if (found == nullptr) return std::nullopt;
  if (found->is_boolean()) return found->get<bool>();
  Problem(key, std::string("must be true or false, not ") + found->type_name());
  return std::nullopt;
}

std::optional<std::vector<std::string>> JsonObject::Strings(const std::string& key,
                                                            size_t max_bytes) {
  const Json* found = Find(key);
  if (found == nullptr) return std::nullopt;
  if (!found->is_array()) {
    Problem(key, std::string("must be a list of strings, not ") + found->type_name());
    return std::nullopt;
  }
  std::vector<std::string> strings;
  for (size_t i = 0; i < found->size(); ++i) {
    JsonObject element(value_, PointerTo(key));  // for the pointer of the element only
    if (element.CheckString(std::to_string(i), (*found)[i], max_bytes, true))
      strings.push_back((*found)[i].get<std::string>());
    for (auto& problem : element.problems_) problems_.push_back(problem);
  }
  return strings;
}

std::optional<std::map<std::string, std::string>> JsonObject::StringMap(const std::string& key) {
  const Json* found = Find(key);
  if (found == nullptr) return std::nullopt;
  std::map<std::string, std::string> strings;
  JsonObject members(*found, PointerTo(key));
  if (found->is_object()) {
    for (const auto& [name, member] : found->items())
      if (auto text = members.Text(name)) strings[name] = *text;
  }
  for (auto& problem : members.problems_) problems_.push_back(problem);
  return strings;
}

std::string JsonObject::RequiredString(const std::string& key, size_t max_bytes) {
  if (!Has(key)) Problem(key, "is required");
  return String(key, max_bytes).value_or("");
}

int64_t JsonObject::RequiredInt(const std::string& key, int64_t min, int64_t max) {
  if (!Has(key)) Problem(key, "is required");
  return Int(key, min, max).value_or(min);
}

bool JsonObject::RequiredBool(const std::string& key) {
  if (!Has(key)) Problem(key, "is required");
  return Bool(key).value_or(false);
}

Result<void> JsonObject::Finish() {
  if (value_.is_object()) {
    for (const auto& [key, member] : value_.items())
      if (!asked_.contains(key)) Problem(key, "unknown key");
  }
  if (problems_.empty()) return {};
  std::string all = problems_.front();
  for (size_t i = 1; i < problems_.size(); ++i) all += "; " + problems_[i];
  return BadInput("", all);
}

}  // namespace carrel
