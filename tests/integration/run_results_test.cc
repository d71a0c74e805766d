// `carrel run` from a definition to results: files by level, records, the result and the audit log.
#include <gmock/gmock.h>

#include "support/leftovers.h"
#include "support/study.h"

namespace carrel::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

TEST(RunResults, First) {
  Study study;
  JobRun run = study.Run(study.Job("mkdir -p output; echo a,b > output/x.csv"));
  EXPECT_EQ(run.exit_code, 0) << run.errors << run.output;
  EXPECT_THAT(SettledLeftovers(study), IsEmpty());
}

}  // namespace
}  // namespace carrel::testing_support
