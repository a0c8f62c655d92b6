#ifndef HLS4ML_EMULATOR_H_
#define HLS4ML_EMULATOR_H_

// The interface between CMSSW and an emulated model, as the loader of hls4mlEmulatorExtras
// (cms-hls4ml/hls4mlEmulatorExtras, include/hls4ml/emulator.h) calls it. The order of the virtual
// functions is the ABI: prepare_input, predict, read_result, destructor. In a CMSSW build that
// package's own header takes this one's place.

#include <any>

namespace hls4mlEmulator {

class Model {
  public:
    virtual void prepare_input(std::any input) = 0;
    virtual void predict() = 0;
    virtual void read_result(std::any result) = 0;
    virtual ~Model() = default;
};

} // namespace hls4mlEmulator

#endif
