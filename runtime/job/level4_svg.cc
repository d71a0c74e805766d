// SVG at level 4 (declared in level4_text.h): one drawing, whose lines are lines.
#include <strings.h>

#include <algorithm>

#include "job/csv_sniff.h"
#include "job/level4_text.h"

namespace carrel {
namespace {

// Nothing is drawn a hundred million units away; an identifier has more digits.
constexpr size_t kMaxDigits = 8;

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

bool StartsWithTag(std::string_view text, std::string_view name) {
  if (text.size() <= name.size() + 1 || text[0] != '<') return false;
  if (::strncasecmp(text.data() + 1, name.data(), name.size()) != 0) return false;
  return std::string_view(" \t\r\n>/").find(text[name.size() + 1]) != std::string_view::npos;
}

// Commands and numbers of a path, or a list of points.
bool IsGeometry(std::string_view value) {
  constexpr std::string_view kAllowed = "MmLlHhVvCcSsQqTtAaZzEe0123456789+-., \t\r\n";
  if (value.find_first_not_of(kAllowed) != std::string_view::npos) return false;
  size_t digits = 0;
  bool fraction = false;
  for (char c : value) {
    const bool digit = c >= '0' && c <= '9';
    fraction = c == '.' || (fraction && digit);
    digits = digit && !fraction ? digits + 1 : 0;
    if (digits > kMaxDigits) return false;
  }
  return true;
}

// The next `d` or `points` attribute: where its value begins and ends. npos when there is none.
struct Attribute {
  size_t begin = std::string_view::npos, end = 0;
};

Attribute NextGeometry(std::string_view text, size_t from) {
  for (size_t equals; (equals = text.find('=', from)) != std::string_view::npos;
       from = equals + 1) {
    size_t name_end = equals, quote = equals + 1;
    while (name_end > from && IsBlank(text[name_end - 1])) --name_end;
    while (quote < text.size() && IsBlank(text[quote])) ++quote;
    const std::string_view before = text.substr(from, name_end - from);
    const auto is_named = [&](std::string_view name) {
      return before.size() > name.size() && before.ends_with(name) &&
             IsBlank(before[before.size() - name.size() - 1]);
    };
    if (quote >= text.size() || (text[quote] != '"' && text[quote] != '\'')) continue;
    if (!is_named("d") && !is_named("points")) continue;
    const size_t end = text.find(text[quote], quote + 1);
    if (end != std::string_view::npos) return {quote + 1, end};
    return {};
  }
  return {};
}

}  // namespace

std::string WithoutGeometry(std::string_view text) {
  std::string bare;
  size_t from = 0;
  for (Attribute found; (found = NextGeometry(text, from)).begin != std::string_view::npos;) {
    bare += text.substr(from, found.begin - from);
    if (!IsGeometry(text.substr(found.begin, found.end - found.begin)))
      bare += text.substr(found.begin, found.end - found.begin);
    from = found.end;
  }
  bare += text.substr(from);
  return bare;
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
  size_t from = 0;
  for (Attribute found; (found = NextGeometry(text, from)).begin != std::string_view::npos;
       from = found.end)
    if (!IsGeometry(text.substr(found.begin, found.end - found.begin)))
      return "A path in it holds something else than coordinates and commands";
  return std::nullopt;
}

}  // namespace carrel
