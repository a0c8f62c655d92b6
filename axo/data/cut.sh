#!/bin/sh
# Cut the shipped samples anew from the full files in folder $1.
set -e
here=$(dirname "$0")
axo events "$1/zerobias_train.h5" --every 150 --output "$here/zerobias_train.h5"
axo events "$1/zerobias_test.h5" --every 48 --output "$here/zerobias_test.h5"
axo events "$1/sig_ttbar.h5" --every 16 --output "$here/sig_ttbar.h5"
axo events "$1/sig_A_4l.h5" --every 16 --output "$here/sig_A_4l.h5"
