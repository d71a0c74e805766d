// `carrel audit report`: one HTML page that needs nothing else, for an auditor to look at.
#pragma once

#include <optional>
#include <string>

#include "audit/report_data.h"
#include "audit/verify.h"
#include "base/json.h"
#include "base/result.h"

namespace carrel {

/// Something that an auditor should see first.
struct ReportFinding {
  int level = 2;       ///< 0 alarm, 1 look at it, 2 for information
  std::string title;   ///< one line
  std::string detail;  ///< what it means, or examples
  uint64_t count = 0;  ///< 0: not a number of things
  std::string find;    ///< text that finds the rows in the page's tables; may be ""
};

/// The worst first.
std::vector<ReportFinding> FindUnusual(const ReportData& data, const LogVerdict& verdict);

/// What the page shows, as JSON. `public_index` is the job's record in the public log.
OrderedJson ReportJson(const ReportData& data, const LogVerdict& verdict,
                       std::optional<uint64_t> public_index);

/// The page. kFault when this carrel was built without it (CARREL_REPORT=OFF).
Result<std::string> ReportPage(const OrderedJson& report);

}  // namespace carrel
