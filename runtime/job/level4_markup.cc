// HTML, SVG and JSON at level 4 (declared in level4_text.h).
#include <strings.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "job/csv_sniff.h"
#include "job/level4_text.h"

namespace carrel {
namespace {

using Json = nlohmann::json;
constexpr size_t kMaxDepth = 128;
constexpr int64_t kContainersPerRow = 10;

bool StartsWithTag(std::string_view text, std::string_view name) {
  if (text.size() <= name.size() + 1 || text[0] != '<') return false;
  if (::strncasecmp(text.data() + 1, name.data(), name.size()) != 0) return false;
  return std::string_view(" \t\r\n>/").find(text[name.size() + 1]) != std::string_view::npos;
}

// The character references in which a name could be written.
std::string DecodeReferences(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i).starts_with("&#")) {
      const bool hex = i + 2 < text.size() && (text[i + 2] | 0x20) == 'x';
      const size_t end = text.find(';', i);
      const std::string digits(text.substr(
          i + (hex ? 3 : 2), end == std::string_view::npos ? 0 : end - i - (hex ? 3 : 2)));
      const unsigned long value = ::strtoul(digits.c_str(), nullptr, hex ? 16 : 10);
      if (value >= 0x20 && value < 0x7f) {
        decoded += static_cast<char>(value);
        i = end;
        continue;
      }
    }
    decoded += text[i];
  }
  return decoded;
}

// The text of the element whose start tag `text` begins with, without the tags in it; at most the
// next 1024 bytes.
std::string ElementText(std::string_view text, std::string_view name) {
  text = text.substr(0, 1024);
  text.remove_prefix(std::min(text.find('>'), text.size()));
  const std::string close = "</" + std::string(name);
  std::string plain;
  bool in_tag = false;
  for (size_t i = 1; i < text.size(); ++i) {
    if (::strncasecmp(text.data() + i, close.c_str(), std::min(close.size(), text.size() - i)) == 0)
      break;
    if (text[i] == '<') in_tag = true;
    if (!in_tag) plain += text[i];
    if (text[i] == '>') in_tag = false;
  }
  return DecodeReferences(plain);
}

// Follows a JSON document, and keeps nothing of it.
class JsonWatch : public nlohmann::json_sax<Json> {
 public:
  explicit JsonWatch(int64_t max_rows) : max_rows_(max_rows) {}

  bool null() override { return Element(); }
  bool boolean(bool) override { return Element(); }
  bool number_integer(number_integer_t) override { return Element(); }
  bool number_unsigned(number_unsigned_t) override { return Element(); }
  bool number_float(number_float_t, const string_t&) override { return Element(); }
  bool binary(binary_t&) override { return Element(); }
  bool string(string_t& value) override {
    identifiers =
        identifiers || (!open_.empty() && open_.back().list && IsPatientIdentifier(value));
    // A table can be folded into one string.
    if (!table && value.find_first_of("\n\r") != std::string::npos)
      table = CheckTables(value, max_rows_, true);
    return Element();
  }
  bool key(string_t& name) override {
    identifiers = identifiers || IsPatientIdentifier(name);
    return Count();
  }
  bool start_object(std::size_t) override { return Element() && Open(false); }
  bool start_array(std::size_t) override { return Element() && Open(true); }
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
  };
  bool Count() {
    too_many = too_many || ++open_.back().members > max_rows_;
    return true;
  }
  bool Element() { return open_.empty() || !open_.back().list || Count(); }
  bool Open(bool list) {
    too_deep = open_.size() >= kMaxDepth;
    // Rows in many short lists are rows too.
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

Refusal CheckMarkup(std::string_view text, int64_t max_rows) {
  int64_t rows = 0, labels = 0;
  for (size_t at = text.find('<'); at != std::string_view::npos; at = text.find('<', at + 1)) {
    const std::string_view here = text.substr(at);
    if (StartsWithTag(here, "tr")) ++rows;
    for (const char* cell : {"th", "td", "text", "tspan", "dt"}) {
      if (!StartsWithTag(here, cell)) continue;
      if (cell[0] == 't' && cell[1] == 'e') ++labels;
      if (IsPatientIdentifier(ElementText(here, cell)))
        return "It has a table or drawing that names patient identifiers (such as patient_id). "
               "Files at level 4 must hold aggregated results only";
    }
    if (rows > max_rows + 1 || labels > max_rows)
      return "It holds more than the " + std::to_string(max_rows) +
             " table rows or labels that a file at level 4 may have";
  }
  return std::nullopt;
}

Refusal CheckJson(std::string_view text, int64_t max_rows) {
  const std::string plain = WithoutNaN(text);
  JsonWatch watch(max_rows);
  bool valid = Json::sax_parse(plain, &watch);
  if (!valid && !watch.too_deep) {
    JsonWatch lines(max_rows);
    valid = ParseLines(plain, &lines, max_rows);
    watch = lines;
  }
  if (watch.identifiers)
    return "It has members named after patient identifiers (such as patient_id). Files at level 4 "
           "must hold aggregated results only";
  if (watch.too_many)
    return "A list or object in it has more than the " + std::to_string(max_rows) +
           " members that a table at level 4 may have";
  if (watch.table) return watch.table;
  if (watch.too_deep) return "Its JSON is nested too deep to be checked";
  if (!valid) return "It is not valid JSON, so that its content cannot be checked";
  return std::nullopt;
}

Refusal CheckSvg(std::string_view text) {
  const char kNotSvg[] = "It is not an SVG drawing, though its name says so";
  if (text.find("<!ENTITY") != std::string_view::npos)
    return "It defines XML entities, in which content can hide from the checks";
  // What may stand before the root element: white space, <?xml ...?>, comments, <!DOCTYPE ...>.
  for (;;) {
    text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
    std::string_view end;
    if (text.starts_with("<?")) end = "?>";
    if (text.starts_with("<!DOCTYPE")) end = ">";
    if (text.starts_with("<!--")) end = "-->";
    if (end.empty()) break;
    const size_t at = text.find(end);
    if (at == std::string_view::npos) return kNotSvg;
    text.remove_prefix(at + end.size());
  }
  if (!StartsWithTag(text, "svg") && !StartsWithTag(text, "svg:svg")) return kNotSvg;
  text = TrimField(text);
  if (!text.ends_with("</svg>") && !text.ends_with("</svg:svg>") && !text.ends_with("/>"))
    return "Something follows the end of the SVG drawing";
  return std::nullopt;
}

}  // namespace carrel
