// A ring that says what cannot be.
#include "audit/ring.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

namespace carrel {
namespace {

class RingTest : public testing::Test {
 protected:
  static constexpr size_t kBytes = 8192;
  // A memory file laid out as the kernel lays out a ring: consumer page, producer page, data.
  void SetUp() override {
    page_ = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    UniqueFd fd(::memfd_create("ring", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(fd.get(), static_cast<off_t>(2 * page_ + kBytes)), 0);
    memory_ = static_cast<char*>(
        ::mmap(nullptr, 2 * page_ + kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
    auto ring = Ring::Map(std::move(fd), kBytes);
    ASSERT_TRUE(ring.has_value());
    ring_ = std::move(*ring);
  }
  void TearDown() override { ::munmap(memory_, 2 * page_ + kBytes); }
  void Put(uint32_t header, const std::string& bytes) {
    uint64_t end = 0;
    std::memcpy(&end, memory_ + page_, sizeof end);
    std::memcpy(memory_ + 2 * page_ + end, &header, sizeof header);
    std::memcpy(memory_ + 2 * page_ + end + 8, bytes.data(), bytes.size());
    end += (bytes.size() + 8 + 7) & ~size_t{7};
    std::memcpy(memory_ + page_, &end, sizeof end);
  }
  std::vector<std::string> Read(bool* failed) {
    std::vector<std::string> records;
    auto done = ring_.Read(kBytes, [&](const char* bytes, size_t size) -> Result<void> {
      records.emplace_back(bytes, size);
      return {};
    });
    *failed = !done.has_value();
    return records;
  }
  size_t page_ = 0;
  char* memory_ = nullptr;
  Ring ring_;
};

TEST_F(RingTest, GivesRecordsInOrder) {
  bool failed = true;
  Put(3, "abc");
  Put(5, "defgh");
  EXPECT_EQ(ring_.Waiting(), 32u);
  EXPECT_EQ(Read(&failed), (std::vector<std::string>{"abc", "defgh"}));
  EXPECT_FALSE(failed);
  EXPECT_EQ(ring_.Waiting(), 0u);
}

TEST_F(RingTest, PassesOverWhatWasDiscardedAndWaitsForWhatIsBusy) {
  bool failed = true;
  Put(3 | 1u << 30, "old");
  Put(3, "abc");
  Put(3 | 1u << 31, "new");
  EXPECT_EQ(Read(&failed), (std::vector<std::string>{"abc"}));
  EXPECT_FALSE(failed);
  EXPECT_EQ(ring_.Waiting(), 16u);
}

TEST_F(RingTest, AnImpossibleLengthIsAnError) {
  bool failed = false;
  Put(3, "abc");
  Put(kBytes, "xyz");
  (void)Read(&failed);
  EXPECT_TRUE(failed);
}

}  // namespace
}  // namespace carrel
