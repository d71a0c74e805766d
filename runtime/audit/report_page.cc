// The page around the report: the parts that the build bundles (report/report.cmake), and the data.
#include <algorithm>
#include <string_view>

#include "audit/report.h"
#include "audit/report/bundled.h"
#include "base/digest.h"

namespace carrel {
namespace {

// Base64 of a digest that is given as hexadecimal digits.
std::string Base64OfHex(const std::string& hex) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t at = 0; at < hex.size(); at += 6) {
    const std::string part = hex.substr(at, 6);
    uint32_t value = static_cast<uint32_t>(std::stoul(part, nullptr, 16))
                     << (4 * (6 - part.size()));
    const size_t characters = part.size() / 2 + 1;
    for (size_t i = 0; i < 4; ++i)
      out += i < characters ? kDigits[(value >> (18 - 6 * i)) & 63] : '=';
  }
  return out;
}

std::string HashSource(std::string_view text) {
  return "'sha256-" + Base64OfHex(Sha256Hex(text)) + "'";
}

using Replacements = std::initializer_list<std::pair<char, std::string_view>>;

std::string Replaced(std::string_view text, Replacements replacements) {
  std::string out;
  out.reserve(text.size() + text.size() / 16);
  for (char c : text) {
    auto found = std::find_if(replacements.begin(), replacements.end(),
                              [c](const auto& entry) { return entry.first == c; });
    if (found == replacements.end())
      out += c;
    else
      out += found->second;
  }
  return out;
}

// JSON that can stand inside a script element: no character of it can end the element, or begin a
// comment of HTML, whatever names the job has chosen.
std::string DataText(const OrderedJson& report) {
  return Replaced(report.dump(-1, ' ', true, OrderedJson::error_handler_t::replace),
                  {{'<', "\\u003c"}, {'>', "\\u003e"}, {'&', "\\u0026"}});
}

// Of a job's id, which is a safe file name but may still hold these.
std::string HtmlText(std::string_view text) {
  return Replaced(text, {{'<', "&lt;"}, {'&', "&amp;"}, {'"', "&quot;"}});
}

}  // namespace

Result<std::string> ReportPage(const OrderedJson& report) {
  const std::string_view script = ReportScript(), style = ReportStyle(), body = ReportBody();
  if (script.empty())
    return Fault("report", "this carrel was built without the report page",
                 "Build it with npm installed (ci/setup), and without -DCARREL_REPORT=OFF");
  const std::string policy = "default-src 'none'; script-src " + HashSource(script) +
                             "; style-src " + HashSource(style) +
                             "; img-src data:; base-uri 'none'; form-action 'none'";
  std::string page = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  page += "<meta http-equiv=\"Content-Security-Policy\" content=\"" + policy + "\">\n";
  page += "<meta name=\"referrer\" content=\"no-referrer\">\n";
  page += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
  page += "<link rel=\"icon\" href=\"data:,\">\n<title>Audit report: ";
  page += HtmlText(report.value("job", std::string())) + "</title>\n<style>";
  page += style;
  page += "</style>\n</head>\n";
  page += body;
  page += "<script type=\"application/json\" id=\"report\">" + DataText(report) + "</script>\n";
  page += "<script>";
  page += script;
  page += "</script>\n</body>\n</html>\n";
  return page;
}

}  // namespace carrel
