// JSON Schema in tests: what a schema says of a document, to hold against what a decoder says.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
// valijson's adapter needs nlohmann's header first.
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>

#include "base/json.h"

namespace carrel::testing_support {

class JsonSchema {
 public:
  /// Reads NAME of a folder of the source tree.
  explicit JsonSchema(const std::string& name, const std::string& folder = "/policies/schemas/") {
    auto document = ReadJsonFile(CARREL_SOURCE_DIR + folder + name);
    if (!document) throw std::runtime_error(document.error().ToString());
    valijson::SchemaParser parser;
    parser.populateSchema(valijson::adapters::NlohmannJsonAdapter(*document), schema_);
  }

  /// "" when the document is valid; else the errors.
  std::string Problems(const Json& document) {
    valijson::Validator validator;
    valijson::ValidationResults results;
    if (validator.validate(schema_, valijson::adapters::NlohmannJsonAdapter(document), &results))
      return "";
    std::string text;
    for (valijson::ValidationResults::Error error; results.popError(error);) {
      for (const std::string& part : error.context) text += part;
      text += ": " + error.description + "\n";
    }
    return text.empty() ? "invalid" : text;
  }

 private:
  valijson::Schema schema_;
};

}  // namespace carrel::testing_support
