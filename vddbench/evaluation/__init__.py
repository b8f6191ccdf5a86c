"""The referee: trains students on a submission's clips, tests them once, and writes records.

    evaluate.py      submissions x students x seeds -> records; the only file that scores on the test split
    ready.py         a submission that passed every check, with its decoded clips and its store
    referee.py       how a protocol trains and tests the students of one set
    train.py         the training loop of the protocol
    engine.py        steps that a GPU does without waiting for the host
    hardware.py      the device, precision and memory that a student is computed with
    session.py       progress messages, saving and resuming of one training
    resume.py        the checkpoint file of students and distillations
    predict.py       a trained student's answers for the videos of a split
    fit.py           whether a student fits the set it was trained on; probes.py: what it scores without motion
    sdd.py           replays the protocol of the field's released code in its place; sdd_predict.py: its test
    record_fields.py what a record states besides its scores
    speed.py         how fast this machine trains and tests a student
    students/        one file per network

A new student is a new file in students/. How a student is trained and tested changes only with the protocol's version. How its
training is saved, resumed, split and reported may change, as long as its predictions stay the same to the bit.
"""
