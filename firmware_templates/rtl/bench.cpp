// Drives one RTL top with events from a file and writes down everything that comes out.
//
// Works on both tops (design.h says which): every clock it presents an event, or a gap with garbage
// on the data, or holds reset; it rewrites thresholds while events flow; and it follows, event by
// event, what must come out and when. Anything else is an error: an event lost, out of order, late,
// or one that was dropped by reset; a trigger bit without a valid event; reset not obeyed.
//
// usage: bench EVENTS THRESHOLDS OUTPUT SUMMARY GAP_PERMILLE RESET_EVERY THRESHOLD_EVERY SEED
//   EVENTS      Word, N_WORDS an event
//   THRESHOLDS  uint32, N_THRESHOLDS a set; the next set is written every THRESHOLD_EVERY events
//   OUTPUT      uint32 records: event number, score word, trigger bits, thresholds in force
//   SUMMARY     text, "key value" lines

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "Vdut.h"
#include "design.h"
#include "verilated.h"

using Bits = std::vector<uint32_t>;

[[noreturn]] static void fail(const std::string& message) {
    std::fprintf(stderr, "error: %s\n", message.c_str());
    std::exit(1);
}

template <class T> static std::vector<T> read_file(const char* path) {
    std::FILE* file = std::fopen(path, "rb");
    if (!file) fail(std::string("cannot read ") + path);
    std::fseek(file, 0, SEEK_END);
    std::vector<T> values(std::ftell(file) / sizeof(T));
    std::rewind(file);
    if (!values.empty() && std::fread(values.data(), sizeof(T), values.size(), file) != values.size())
        fail(std::string("cannot read ") + path);
    std::fclose(file);
    return values;
}

// Copies `width` bits into a Verilator port of any C++ type; bits above must stay zero.
template <class Port> static void put(Port& port, const uint32_t* bits, int width) {
    uint64_t value = bits[0];
    if (width > 32) value |= uint64_t(bits[1]) << 32;
    port = static_cast<Port>(width < 64 ? value & ((uint64_t(1) << width) - 1) : value);
}
template <std::size_t N> static void put(VlWide<N>& port, const uint32_t* bits, int width) {
    for (std::size_t i = 0; i < N; ++i) port[i] = bits[i];
    if (width % 32) port[N - 1] &= (uint32_t(1) << (width % 32)) - 1;
}

static void put_field(Bits& bits, int first, int width, uint32_t value) {
    for (int i = 0; i < width; ++i) {
        const uint32_t mask = uint32_t(1) << ((first + i) % 32);
        uint32_t& word = bits[(first + i) / 32];
        word = (value >> i) & 1 ? word | mask : word & ~mask;
    }
}

class Bench {
public:
    Bench(char** argv)
        : events_(read_file<Word>(argv[1])), thresholds_(read_file<uint32_t>(argv[2])),
          gap_permille_(std::atoi(argv[5])), reset_every_(std::atol(argv[6])),
          threshold_every_(std::atol(argv[7])), random_(std::atoi(argv[8])),
          in_force_(N_THRESHOLDS, NEVER), output_(std::fopen(argv[3], "wb")) {
        if (!output_) fail(std::string("cannot write ") + argv[3]);
    }

    void run() {
        const long n_events = events_.size() / N_WORDS;
        dut_.clk = 0;
        dut_.eval();
        reset(5);
        long since_reset = 0;
        for (long event = 0; event < n_events;) {
            if (threshold_every_ && event % threshold_every_ == 0 && event / threshold_every_ >= set_)
                next_thresholds();
            if (reset_every_ && since_reset == reset_every_) {
                reset(3);
                since_reset = 0;
            } else if (int(random_() % 1000) < gap_permille_) {
                gap();
            } else {
                present(event++);
                ++since_reset;
            }
        }
        for (int i = 0; i < LATENCY + 4; ++i) gap();
        if (!inside_.empty()) fail("event " + std::to_string(inside_.front().event) + " never came out");
        if (std::fclose(output_)) fail("the output cannot be written");
    }

    void write_summary(const char* path) const {
        std::FILE* file = std::fopen(path, "w");
        if (!file) fail(std::string("cannot write ") + path);
        std::fprintf(file, "latency_cycles %d\ncycles %ld\nevents_out %ld\nevents_dropped %ld\nresets %ld\ngaps %ld\n",
                     latency_, cycle_, out_, dropped_, resets_, gaps_);
        if (std::fclose(file)) fail(std::string("cannot write ") + path);
    }

private:
    struct Inside {
        long event, cycle;
    };

    void garbage() {
        for (uint32_t& word : bits_) word = random_();
        drive(dut_, bits_.data());
    }

    void present(long event) {
        for (uint32_t& word : bits_) word = random_();
        const Word* words = &events_[event * N_WORDS];
        for (const Field& field : FIELDS) {
            // Of an absent object only the pt is sent; garbage stays in the rest.
            const bool absent = field.pt_word >= 0 && words[field.pt_word] == 0 && field.pt_word != field.word;
            if (!absent) put_field(bits_, field.first, field.width, uint32_t(words[field.word]));
        }
        drive(dut_, bits_.data());
        dut_.valid_in = 1;
        inside_.push_back({event, cycle_});
        clock();
    }

    void gap() {
        garbage();
        dut_.valid_in = 0;
        ++gaps_;
        clock();
    }

    // Everything inside is dropped; what is offered meanwhile must be ignored.
    void reset(int cycles) {
        dropped_ += inside_.size();
        inside_.clear();
        ++resets_;
        dut_.rst = 1;
        for (int i = 0; i < cycles; ++i) {
            garbage();
            dut_.valid_in = 1;
            clock();
            if (dut_.valid_out) fail("an event came out during reset");
        }
        dut_.rst = 0;
        // Thresholds are written only after some events have come out, which must not fire.
        hold_ = 2 * LATENCY;
        pending_.clear();
        write_thresholds(set_ ? set_ - 1 : 0);
    }

    void next_thresholds() {
        const long n_sets = thresholds_.size() / N_THRESHOLDS;
        write_thresholds(set_ % n_sets);
        ++set_;
    }

    void write_thresholds(long set) {
        const long n_sets = thresholds_.size() / N_THRESHOLDS;
        for (int i = 0; i < N_THRESHOLDS; ++i)
            pending_.push_back({i, thresholds_[(set % n_sets) * N_THRESHOLDS + i]});
    }

    void clock() {
        std::vector<uint32_t> deciding = in_force_;
        step_thresholds();
        dut_.clk = 1;
        dut_.eval();
        observe(deciding);
        dut_.clk = 0;
        dut_.eval();
        ++cycle_;
    }

    // One register a clock, while events flow: a write in this clock is in force from the next.
    void step_thresholds() {
        if (!IS_TRIGGER) return;
        if (dut_.rst) in_force_.assign(N_THRESHOLDS, NEVER);
        const bool write = !dut_.rst && !hold_ && !pending_.empty();
        if (hold_) --hold_;
        const Write next = write ? pending_.front() : Write{int(random_() % N_THRESHOLDS), uint32_t(random_()) & NEVER};
        if (write) {
            pending_.pop_front();
            in_force_[next.index] = next.value;
        }
        drive_threshold(dut_, write || dut_.rst, next.index, next.value);
    }

    void observe(const std::vector<uint32_t>& deciding) {
        if (!dut_.valid_out) {
            if (trigger_bits(dut_)) fail("a trigger bit is set without a valid event, cycle " + std::to_string(cycle_));
            if (!inside_.empty() && cycle_ - inside_.front().cycle + 1 >= LATENCY)
                fail("event " + std::to_string(inside_.front().event) + " did not come out after " +
                     std::to_string(LATENCY) + " cycles");
            return;
        }
        if (inside_.empty()) fail("valid_out without an event inside, cycle " + std::to_string(cycle_));
        const Inside event = inside_.front();
        inside_.pop_front();
        latency_ = int(cycle_ - event.cycle + 1);
        if (latency_ != LATENCY)
            fail("event " + std::to_string(event.event) + " came out after " + std::to_string(latency_) +
                 " cycles instead of " + std::to_string(LATENCY));
        record_ = {uint32_t(event.event), uint32_t(dut_.score), trigger_bits(dut_)};
        record_.insert(record_.end(), deciding.begin(), deciding.end());
        if (std::fwrite(record_.data(), sizeof(uint32_t), record_.size(), output_) != record_.size())
            fail("the output cannot be written");
        ++out_;
    }

    struct Write {
        int index;
        uint32_t value;
    };

    std::vector<Word> events_;
    std::vector<uint32_t> thresholds_;
    int gap_permille_;
    long reset_every_, threshold_every_;
    std::mt19937 random_;
    std::vector<uint32_t> in_force_;
    std::FILE* output_;
    Vdut dut_;
    Bits bits_ = Bits(INPUT_BITS / 32 + 2);
    std::vector<uint32_t> record_;
    std::deque<Inside> inside_;
    std::deque<Write> pending_;
    int latency_ = 0, hold_ = 0;
    long set_ = 0, cycle_ = 0, out_ = 0, dropped_ = 0, resets_ = 0, gaps_ = 0;
};

int main(int argc, char** argv) {
    if (argc != 9) fail("usage: bench EVENTS THRESHOLDS OUTPUT SUMMARY GAPS RESET_EVERY THRESHOLD_EVERY SEED");
    Verilated::randReset(2);
    Verilated::randSeed(std::atoi(argv[8]) + 1);
    auto bench = std::make_unique<Bench>(argv);
    bench->run();
    bench->write_summary(argv[4]);
    return 0;
}
