// How docker's commands print: one document or one rendered line for each thing, or a table.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace carrel {

/// `docker inspect`: the documents of all names as a JSON list, or each through `format`. Those
/// that are found are printed even when another is not.
Result<int> InspectEach(const std::vector<std::string>& names, const std::string& format,
                        const std::function<Result<OrderedJson>(const std::string&)>& inspect);

/// `format` ("" or "table ...": a table; "json": one object a line) for each row. `columns` are the
/// members of the default table, `headings` those that every row has, with their heading.
Result<int> PrintRows(const std::vector<OrderedJson>& rows, const std::string& format,
                      const std::vector<std::string>& columns, const OrderedJson& headings);

}  // namespace carrel
