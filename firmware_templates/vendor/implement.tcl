# Out-of-context implementation of a design that is a part of a larger one.
# axo writes parameters.tcl and clock.xdc beside it and runs, in that folder,
#   vivado -mode batch -nojournal -nolog -notrace -source implement.tcl
source parameters.tcl

create_project -in_memory -part $part
if {[llength $verilog_sources]} { read_verilog -sv $verilog_sources }
if {[llength $vhdl_sources]} { read_vhdl -vhdl2008 $vhdl_sources }
read_xdc -mode out_of_context clock.xdc

synth_design -top $top -part $part -mode out_of_context -flatten_hierarchy full -max_dsp $max_dsp
if {$until eq "route"} {
    opt_design
    place_design
    phys_opt_design
    route_design
}

report_utilization -file utilisation.rpt
report_timing_summary -max_paths 10 -file timing.rpt
write_checkpoint -force design.dcp
