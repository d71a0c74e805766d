// HTML and SVG at level 4 (declared in level4_text.h).
#include <strings.h>

#include <algorithm>
#include <array>
#include <utility>

#include "job/identifier_names.h"
#include "job/level4_lines.h"
#include "job/level4_text.h"

namespace carrel {
namespace {

constexpr size_t kMaxReference = 10;  // "&#1114111;"
const char kNamesIdentifiers[] =
    "It has a table or drawing that names patient identifiers (such as patient_id). Files at level "
    "4 must hold aggregated results only";

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

template <size_t N>
bool IsOneOf(std::string_view name, const std::array<std::string_view, N>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Reads a document once, from the front, as what a reader sees: elements that begin a line of their
// own give lines, cells give fields. Whatever their tags are called, rows come out as rows.
class MarkupReader {
 public:
  explicit MarkupReader(int64_t max_rows) : max_rows_(max_rows) {}

  Refusal Read(std::string_view text) {
    plain_.reserve(text.size());
    plain_ = "markup\n";  // a first line: none of the document's is a header because it is first
    while (!text.empty()) {
      const size_t tag = std::min(text.find('<'), text.size());
      AddText(text.substr(0, tag));
      text.remove_prefix(tag);
      if (text.empty()) break;
      text.remove_prefix(TakeTag(text));
      if (identifiers_) return kNamesIdentifiers;
      if (rows_ > max_rows_ + 1 || labels_ > max_rows_ || comments_ > max_rows_)
        return "It holds more than the " + std::to_string(max_rows_) +
               " table rows, labels or comments that a file at level 4 may have";
    }
    EndCell();
    if (identifiers_) return kNamesIdentifiers;
    if (auto refusal = CheckTables(plain_, max_rows_, true)) return refusal;
    return CheckEscapes(plain_, max_rows_, true);
  }

 private:
  // The bytes of the comment, section or tag that `text` begins with; what is in them is taken.
  size_t TakeTag(std::string_view text) {
    for (const auto& [open, close] :
         {std::pair<std::string_view, std::string_view>{"<!--", "-->"}, {"<![CDATA[", "]]>"}}) {
      if (!text.starts_with(open)) continue;
      const size_t end = std::min(text.find(close, open.size()), text.size());
      if (open == "<!--") ++comments_;
      const bool keep = std::exchange(keep_lines_, true);
      plain_ += '\n';
      AddText(text.substr(open.size(), end - std::min(end, open.size())));
      plain_ += '\n';
      keep_lines_ = keep;
      return std::min(end + close.size(), text.size());
    }
    size_t name = 1;
    const bool closing = text.size() > 1 && text[1] == '/';
    if (closing) ++name;
    std::string tag;
    while (name < text.size() && tag.size() < 16 && IsNameChar(text[name]))
      tag += Lower(text[name++]);
    if (tag.empty() && !closing && (text.size() < 2 || (text[1] != '!' && text[1] != '?'))) {
      plain_ += '<';  // less than
      return 1;
    }
    const size_t end = std::min(text.find('>', name), text.size());
    OnTag(tag, closing);
    size_t taken = std::min(end + 1, text.size());
    // Scripts and styles are no text that a reader sees; CheckTables reads them as they are.
    if (!closing && (tag == "script" || tag == "style")) {
      while (taken < text.size() && !EndsRawText(text.substr(taken), tag))
        taken = std::min(text.find('<', taken + 1), text.size());
    }
    return taken;
  }

  static bool IsNameChar(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == ':';
  }
  static bool EndsRawText(std::string_view text, const std::string& tag) {
    return text.size() > tag.size() + 2 && text[0] == '<' && text[1] == '/' &&
           ::strncasecmp(text.data() + 2, tag.c_str(), tag.size()) == 0;
  }

  void OnTag(const std::string& tag, bool closing) {
    static constexpr std::array<std::string_view, 14> kInline = {
        "b",   "i",   "em",    "strong", "a",    "code", "font",
        "sub", "sup", "small", "u",      "mark", "var",  "wbr"};
    static constexpr std::array<std::string_view, 6> kCells = {"td",    "th", "text",
                                                               "tspan", "dt", "span"};
    static constexpr std::array<std::string_view, 5> kNamed = {"td", "th", "text", "tspan", "dt"};
    const std::string local = tag.substr(tag.find(':') + 1);
    if (IsOneOf(local, kInline)) return;
    EndCell();
    if (!closing && local == "tr") ++rows_;
    if (!closing && local == "text") ++labels_;
    in_cell_ = !closing && IsOneOf(local, kNamed);
    if (local == "pre" || local == "textarea") keep_lines_ = !closing;
    const bool field = IsOneOf(local, kCells) && local != "text" && local != "dt";
    plain_ += field ? '\t' : '\n';
    cell_ = plain_.size();
  }

  // A cell that names identifiers is a header whatever stands below it.
  void EndCell() {
    if (!in_cell_) return;
    identifiers_ = identifiers_ || IsPatientIdentifier(std::string_view(plain_).substr(cell_));
    in_cell_ = false;
  }

  // Text with its references decoded. Its line ends are blanks but where the markup keeps them.
  void AddText(std::string_view text) {
    while (!text.empty()) {
      if (text[0] == '&') {
        text.remove_prefix(AddReference(text));
        continue;
      }
      const char c = text[0];
      plain_ += !keep_lines_ && (c == '\n' || c == '\r' || c == '\t') ? ' ' : c;
      text.remove_prefix(1);
    }
  }

  size_t AddReference(std::string_view text) {
    static constexpr std::array<std::pair<std::string_view, char>, 9> kNamed = {
        {{"&amp;", '&'},
         {"&lt;", '<'},
         {"&gt;", '>'},
         {"&quot;", '"'},
         {"&nbsp;", ' '},
         {"&comma;", ','},
         {"&Tab;", '\t'},
         {"&lowbar;", '_'},
         {"&NewLine;", '\n'}}};
    for (const auto& [name, c] : kNamed) {
      if (!text.starts_with(name)) continue;
      plain_ += c;
      return name.size();
    }
    const size_t end = text.substr(0, kMaxReference).find(';');
    if (text.starts_with("&#") && end != std::string_view::npos) {
      const bool hex = end > 2 && (text[2] | 0x20) == 'x';
      const std::string digits(text.substr(hex ? 3 : 2, end - (hex ? 3 : 2)));
      const unsigned long value = ::strtoul(digits.c_str(), nullptr, hex ? 16 : 10);
      if ((value >= 0x20 && value < 0x7f) || value == '\t' || value == '\n') {
        plain_ += static_cast<char>(value);
        return end + 1;
      }
    }
    plain_ += '&';
    return 1;
  }

  int64_t max_rows_;
  int64_t rows_ = 0, labels_ = 0, comments_ = 0;
  std::string plain_;
  size_t cell_ = 0;  // where the present cell began
  bool in_cell_ = false, keep_lines_ = false, identifiers_ = false;
};

}  // namespace

Refusal CheckMarkup(std::string_view text, int64_t max_rows) {
  return MarkupReader(max_rows).Read(text);
}

}  // namespace carrel
