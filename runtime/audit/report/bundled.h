// The parts of the report page that the build puts together from the files beside this one.
#pragma once

#include <string_view>

namespace carrel {

/// Empty when carrel was built without the page.
std::string_view ReportScript();
std::string_view ReportStyle();
std::string_view ReportBody();

}  // namespace carrel
