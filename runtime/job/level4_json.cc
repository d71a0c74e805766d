// JSON at level 4 (declared in level4_text.h).
#include <algorithm>
#include <array>
#include <functional>
#include <unordered_set>
#include <vector>

#include "base/json.h"
#include "job/csv_sniff.h"
#include "job/identifier_names.h"
#include "job/level4_text.h"

namespace carrel {
namespace {

constexpr size_t kMaxDepth = 128;
constexpr size_t kMaxName = 64;
constexpr int64_t kContainersPerRow = 10;
// Values in lists of one depth: columns of a table that is written column by column.
constexpr int64_t kTableColumns = 100;

// Follows a JSON document, and keeps nothing of it but digests of names. Rows are counted by depth,
// over the whole document: a table that is cut into several lists, or nested, is still one table.
class JsonWatch : public nlohmann::json_sax<Json> {
 public:
  explicit JsonWatch(int64_t max_rows) : max_rows_(max_rows) {}

  bool null() override { return Scalar(); }
  bool boolean(bool) override { return Scalar(); }
  bool number_integer(number_integer_t) override { return Scalar(); }
  bool number_unsigned(number_unsigned_t) override { return Scalar(); }
  bool number_float(number_float_t, const string_t&) override { return Scalar(); }
  bool binary(binary_t&) override { return Scalar(); }
  bool string(string_t& value) override {
    identifiers =
        identifiers || (!open_.empty() && open_.back().list && IsPatientIdentifier(value));
    // A table can be folded into one string.
    if (!table && value.find_first_of("\n\r") != std::string::npos)
      table = CheckTables(value, max_rows_, true);
    return Scalar();
  }
  bool key(string_t& name) override {
    identifiers = identifiers || IsPatientIdentifier(name) || IsIdOfAPatient(name);
    open_.back().member = name.substr(0, kMaxName);
    Level& level = levels_.at(open_.size());
    // Objects of the same kind have the same few names: many names are keys of a table.
    if (static_cast<int64_t>(level.names.size()) <= max_rows_)
      level.names.insert(std::hash<std::string>{}(name));
    too_many = too_many || static_cast<int64_t>(level.names.size()) > max_rows_;
    return Count();
  }
  bool start_object(std::size_t) override { return Open(false); }
  bool start_array(std::size_t) override { return Open(true); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

  bool identifiers = false;
  bool too_many = false;
  bool too_deep = false;
  Refusal table;

 private:
  struct Container {
    bool list;
    int64_t members;
    std::string member = {};  ///< the name of the last one
  };
  struct Level {
    int64_t rows = 0;    // lists and objects that are elements of lists
    int64_t values = 0;  // other elements of lists
    std::unordered_set<size_t> names;
  };
  // {"patient": {"id": 1}}, {"patient": [{"id": 1}]}
  bool IsIdOfAPatient(const std::string& name) const {
    if (!IsPatientIdentifier("patient_" + name)) return false;
    const auto of = std::find_if(open_.rbegin() + 1, open_.rend(),
                                 [](const Container& container) { return !container.list; });
    return of != open_.rend() && IsPatientIdentifier(of->member + "_" + name);
  }
  bool Count() {
    too_many = too_many || ++open_.back().members > max_rows_;
    return true;
  }
  bool InList() const { return !open_.empty() && open_.back().list; }
  bool Scalar() {
    if (!InList()) return true;
    too_many = too_many || ++levels_.at(open_.size()).values > kTableColumns * max_rows_;
    return Count();
  }
  bool Open(bool list) {
    if (InList()) {
      too_many = too_many || ++levels_.at(open_.size()).rows > max_rows_;
      Count();
    }
    too_deep = open_.size() >= kMaxDepth;
    too_many = too_many || ++containers_ > kContainersPerRow * max_rows_;
    open_.push_back({list, 0});
    return !too_deep;
  }
  bool Close() {
    open_.pop_back();
    return true;
  }
  int64_t max_rows_;
  int64_t containers_ = 0;
  std::vector<Container> open_;
  std::array<Level, kMaxDepth + 1> levels_;
};

// Python writes NaN and Infinity, which JSON does not have: null for the check.
std::string WithoutNaN(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string_view rest = text.substr(i);
    std::string_view word;
    for (std::string_view candidate : {"-Infinity", "Infinity", "NaN"})
      if (!in_string && word.empty() && rest.starts_with(candidate)) word = candidate;
    if (!word.empty()) {
      plain += "null";
      i += word.size() - 1;
      continue;
    }
    plain += text[i];
    if (in_string && text[i] == '\\' && i + 1 < text.size())
      plain += text[++i];
    else if (text[i] == '"')
      in_string = !in_string;
  }
  return plain;
}

bool ParseLines(const std::string& text, JsonWatch* watch, int64_t max_rows) {
  int64_t lines = 0;
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    const std::string_view line = TrimField(std::string_view(text).substr(start, end - start));
    if (!line.empty()) {
      if (!Json::sax_parse(line.begin(), line.end(), watch)) return false;
      watch->too_many = watch->too_many || ++lines > max_rows;
    }
    start = end + 1;
  }
  return lines > 0;
}

}  // namespace

Refusal CheckJson(std::string_view text, int64_t max_rows) {
  const std::string plain = WithoutNaN(text);
  JsonWatch watch(max_rows);
  bool valid = Json::sax_parse(plain, &watch);
  if (!valid && !watch.too_deep) {
    watch = JsonWatch(max_rows);
    valid = ParseLines(plain, &watch, max_rows);
  }
  if (watch.identifiers)
    return "It has members named after patient identifiers (such as patient_id). Files at level 4 "
           "must hold aggregated results only";
  if (watch.too_many)
    return "Its lists and objects hold more than the " + std::to_string(max_rows) +
           " rows or members that a table at level 4 may have";
  if (watch.table) return watch.table;
  if (watch.too_deep) return "Its JSON is nested too deep to be checked";
  if (!valid) return "It is not valid JSON, so that its content cannot be checked";
  return std::nullopt;
}

}  // namespace carrel
