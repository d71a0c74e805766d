#include "policy/names.h"

#include <gtest/gtest.h>

namespace carrel {
namespace {

TEST(Names, SizesAreDockers) {
  for (const char* text :
       {"512M", "512m", "512MB", "512mb", "512MiB", "512mib", "512Mi", "0.5G", "524288K"})
    EXPECT_EQ(ParseByteSize(text).value_or(0), 512ull << 20) << text;
  EXPECT_EQ(ParseByteSize("512").value_or(0), 512u);
  EXPECT_EQ(ParseByteSize("512B").value_or(0), 512u);
  for (const char* text :
       {"", "M", "B", "iB", "512iB", "512i", "512MiBB", "512 M", "1e9", "-1", "0x10", "512E"})
    EXPECT_FALSE(ParseByteSize(text).has_value()) << text;
}

TEST(Names, SizesForPeople) {
  EXPECT_EQ(HumanBytes(512), "512 B");
  EXPECT_EQ(HumanBytes(3ull << 29), "1.5 GiB");
  EXPECT_EQ(HumanBytes(128ull << 30), "128 GiB");
  EXPECT_EQ(HumanCpus(500), "0.5");
  EXPECT_EQ(HumanCpus(32000), "32");
}

}  // namespace
}  // namespace carrel
