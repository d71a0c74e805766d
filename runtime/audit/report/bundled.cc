#include "audit/report/bundled.h"

extern "C" {
// Bounds of the bundled files: see report.cmake.
extern const char carrel_report_script_begin[], carrel_report_script_end[];
extern const char carrel_report_style_begin[], carrel_report_style_end[];
extern const char carrel_report_body_begin[], carrel_report_body_end[];
}

namespace carrel {
namespace {

std::string_view Between(const char* begin, const char* end) {
  return {begin, static_cast<size_t>(end - begin)};
}

}  // namespace

std::string_view ReportScript() {
  return Between(carrel_report_script_begin, carrel_report_script_end);
}
std::string_view ReportStyle() {
  return Between(carrel_report_style_begin, carrel_report_style_end);
}
std::string_view ReportBody() { return Between(carrel_report_body_begin, carrel_report_body_end); }

}  // namespace carrel
