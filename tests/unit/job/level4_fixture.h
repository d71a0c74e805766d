// What the tests of the level 4 checks share.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "job/level4_checks.h"
#include "support/temp_dir.h"

namespace carrel {

class Level4Fixture : public testing::Test {
 protected:
  Level4Verdict Verdict(const std::string& name, std::string_view content) {
    dir_.Write("file", content);
    const UniqueFd fd = *OpenPath(dir_ / "file", O_RDONLY);
    auto verdict = CheckLevel4(fd.get(), "output/" + name, rules_);
    EXPECT_TRUE(verdict.has_value());
    return verdict ? *verdict : Level4Verdict{};
  }
  /// Why the content is withheld under this name, or "".
  std::string Reason(const std::string& name, std::string_view content) {
    return Verdict(name, content).refusal.value_or("");
  }
  void Passes(const std::string& name, std::string_view content) {
    EXPECT_EQ(Reason(name, content), "") << name << ":\n" << content.substr(0, 300);
  }
  void Withheld(const std::string& name, std::string_view content, const std::string& why) {
    const std::string reason = Reason(name, content);
    EXPECT_NE(reason.find(why), std::string::npos) << name << " gave \"" << reason << "\":\n"
                                                   << content.substr(0, 300);
  }
  testing_support::TempDir dir_;
  Level4Rules rules_;
};

}  // namespace carrel
