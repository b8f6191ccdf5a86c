"""What participants hand in: a manifest and a payload of tensors, which a decoder turns into clips.

submission.py   opens a submission and makes all its checks in a fixed order; rules.py has the checks
manifest.py     reads manifest.json; payload.py reads and writes data.safetensors
tensors.py      what a decoder accepts; decoders/NAME.py are the decoders
check.py        `vddbench check`; report.py is the report it returns
pack.py         `vddbench pack`; conversion.py has its settings, importers.py opens research files, choosing.py finds the clips
                and labels in them, layouts.py and ranges.py understand clips, file_labels.py and label_forms.py labels;
                clip_folder.py reads folders of clips, static_dynamic_files.py the three files of static-dynamic methods;
                known_formats.py names what other code bases save; method_names.py refuses names that tables use
leaks.py        looks for test videos among the clips
appearance.py   mean and contrast of clips and of the train split
write.py        checks and writes submissions; quantise.py stores pixels in 8 bits; previews.py makes animated pictures,
                clip_videos.py videos of the clips

A new decoder is a new file in decoders/. Do not change what is accepted, the budgets or a decoder's arithmetic: scores
depend on them.
"""
